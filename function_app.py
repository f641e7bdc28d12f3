"""The function app: every blueprint of the doors and the flows, and nothing else."""

from importlib import import_module

import azure.functions as func

import functions
import orchestrations

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

for name in (*functions.MODULES, *orchestrations.MODULES):
    app.register_functions(import_module(name).blueprint)
