"""Plans of fine-tuning runs, carried out and logged; in rooms of their own what they are for."""
