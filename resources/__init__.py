"""WITH WHAT the desk works: settings, clock, store, market and paper venue.

Plain classes without Dagster, so that runs, the resident ticker, the command line and the dashboard
share them. Nothing here imports ``assets``, ``pipelines`` or ``dashboards``.
"""
