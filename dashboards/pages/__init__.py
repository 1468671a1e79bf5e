"""One module a page; ``dashboards.app`` names those that are served."""
