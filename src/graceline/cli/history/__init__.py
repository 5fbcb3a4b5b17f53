"""The commands `graceline history ...`, and how they show what runs have taught."""
