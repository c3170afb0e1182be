"""English words that the vocabulary of a text tower does not tell by itself whether they mean anything."""

from __future__ import annotations

_FUNCTION = """
an the this that these those and or nor but if then so as than of in on at to from by for with without into onto over
under up down out off about between is am are was were be been being do does did has have had having can could will
would shall should may might must not no none it its you your we our us they them their me my who whom whose which
what where when why how there here very too also just only any some all each such own
"""
_PIECES = """
anorak aghast balaclava beret cardigan chartreuse chubby cyan dimple dimpled dishevelled disheveled eyepatch freckle
freckled freckly frizzy fuchsia goggles grumpy haughty joyful jubilant kerchief khaki melancholic mournful
moustachioed mullet niqab ochre pixie pompadour pouting sari sneering sombrero sunburned surly teal tiara trilby
tuxedo unkempt whisker wistful wrinkly
"""

FUNCTION_WORDS = frozenset(_FUNCTION.split())   # say nothing of an image by themselves
# Of how people look; BERT's vocabulary has them in small pieces only, but sentences taught MiniLM what they mean.
WORDS_IN_PIECES = frozenset(_PIECES.split())
