"""``python -m dashboards``: serve the dashboard with the settings of the environment."""

from dashboards.app import serve
from resources.settings import load_settings

if __name__ == "__main__":
    serve(load_settings())
