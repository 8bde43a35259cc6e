"""Golden files: what released versions wrote, readable for ever."""
