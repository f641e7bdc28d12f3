"""A host for Azure Functions apps in Python: loads the `function_app.py` that Azure loads, and runs it on one machine."""
