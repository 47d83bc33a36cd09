"""Tools that turn the chapters into a site and into notebooks."""
