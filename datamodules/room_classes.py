"""Which models of Sweet Home 3D furnish a bedroom, and as what: a table of catalogue ids by class."""

from __future__ import annotations

from networks.checkpoints.classes import ClassList

ROOM_CLASSES = ClassList(
    ("wall", "floor", "ceiling", "window", "door", "curtain", "picture", "rug", "bed", "nightstand", "wardrobe",
     "shelf", "table", "chair", "sofa", "lamp", "plant"),
    ((204, 193, 168), (150, 111, 77), (236, 236, 232), (120, 190, 235), (128, 64, 32), (230, 160, 190), (214, 93, 177),
     (235, 150, 70), (66, 92, 188), (110, 140, 230), (96, 60, 110), (150, 100, 170), (170, 150, 40), (200, 60, 60),
     (240, 120, 110), (250, 225, 90), (58, 158, 84)),
)  # fmt: skip
DRAWN = ("wall", "floor", "ceiling", "picture")  # classes that need no model; rugs are drawn too, beside the models

LICENCES = {  # library -> terms and whom to name
    "BlendSwap-CC-0": "CC0, the BlendSwap contributors",
    "BlendSwap-CC-BY": "CC BY 3.0, the BlendSwap contributors",
    "KatorLegaz": "CC BY 3.0 US, Andrew Kator & Jennifer Legaz",
    "Scopia": "CC BY 3.0, Emmanuel Puybaret / eTeks and Scopia Visual Interfaces Systems",
}

MODELS: dict[str, dict[str, tuple[str, ...]]] = {  # class -> the catalogue's name of a library -> models
    "window": {
        "Scopia": ("window_2x1_medium_with_large_pane", "window_2x3_regular", "window_2x4", "window_3x1",
                   "window_4x3", "window_4x5", "turn-window", "window_2x1_with_sliders"),
        "Kator Legaz": ("window-01", "window-08", "window-08-02"),
    },
    "door": {
        "Scopia": ("puerta", "door", "double_door"),
        "Kator Legaz": ("exterior-door-01", "exterior-door-02", "exterior-door-03", "exterior-door-07"),
    },
    "curtain": {"Scopia": ("curtain",)},
    "rug": {"Scopia": ("round-carpet",), "Kator Legaz": ("oriental-rug",)},
    "bed": {
        "Blend Swap CC-0": ("bed1", "bed2", "bed3", "bedWithTexture"),
        "Blend Swap CC-BY": ("juniorBed",),
        "Scopia": ("bed1", "iron_bed", "children_bed", "captains-bed"),
    },
    "nightstand": {
        "Blend Swap CC-0": ("bedsideTable2",),
        "Blend Swap CC-BY": ("bedsideTable",),
        "Kator Legaz": ("filing-cabinet",),
    },
    "wardrobe": {
        "Blend Swap CC-0": ("wardrobeWithSlidingDoors", "cupboard"),
        "Blend Swap CC-BY": ("wardrobe", "wardrobe2", "dresserWithDrawers"),
        "Scopia": ("wardrobe1",),
    },
    "shelf": {
        "Blend Swap CC-0": ("bookcase", "shelves", "verticalShelves"),
        "Blend Swap CC-BY": ("bookcase",),
        "Kator Legaz": ("full-bookcase", "utility-shelving"),
        "Scopia": ("kids_shelves",),
    },
    "table": {
        "Blend Swap CC-0": ("desk", "lbDesk", "tableWithTablecloth"),
        "Blend Swap CC-BY": ("biurko3", "simpleDesk", "tvStand"),
        "Scopia": ("dressing-table", "kids_desk_table", "kids_wooden_desk", "coffee-table2", "table_wood_and_iron"),
    },
    "chair": {
        "Blend Swap CC-0": ("armchair2", "chair", "chair2", "modernArmchair", "oakChair", "plasticChair", "thonet",
                            "chairWithCushion", "winchesterArmchair"),
        "Blend Swap CC-BY": ("armchair1", "chair3", "chair4", "ella_chair_f", "fotel", "kitchenChair", "green_stool"),
        "Kator Legaz": ("mid-century-chair", "dining-chair", "office-chair"),
        "Scopia": ("armchair", "modern_armchair", "white_kitchen_chair", "kids_desk_chair", "puff"),
    },
    "sofa": {
        "Blend Swap CC-0": ("couch", "sofa2", "winchesterSofa"),
        "Blend Swap CC-BY": ("sofa2", "sofa3", "couch3"),
        "Kator Legaz": ("futon-couch", "mid-century-sofa"),
        "Scopia": ("beige_sofa_2seats", "burlap_sofa", "sofa_white_beige"),
    },
    "lamp": {
        "Blend Swap CC-0": ("desklamp", "lamp2"),
        "Blend Swap CC-BY": ("lamp", "hangingLight"),
        "Kator Legaz": ("pedestal-vase-lamp", "hanging-restaurant-light"),
        "Scopia": ("little_lamp1", "little_lamp2", "little_lamp3", "table_lamp", "livingroom_lamp1", "living_lamp",
                   "ceiling-lamp"),
    },
    "plant": {
        "Blend Swap CC-0": ("decorativePlant", "plant", "littlePlant", "orchids", "cactus"),
        "Blend Swap CC-BY": ("mediumIndoorPlant", "spatifilum", "yuccaPlant", "decorativePlant", "tulips"),
        "Scopia": ("maceta", "ficus", "bonsai-tree"),
    },
}  # fmt: skip


def class_of_models() -> dict[str, str]:
    """The class of each model, by its catalogue id.

    Example:
        >>> class_of_models()["Scopia#iron_bed"]
        'bed'
    """
    return {
        f"{library}#{model}": name
        for name, libraries in MODELS.items() for library, models in libraries.items() for model in models
    }  # fmt: skip
