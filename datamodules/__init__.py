"""Where images, masks, latents and texts come from."""
