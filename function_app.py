"""The function app: every blueprint of the doors and the flows, and nothing else."""

import gc
import os
from importlib import import_module

import azure.functions as func

import functions
import orchestrations

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # none is used; to look for one reads every package's metadata
gc.disable()  # what is loaded here stays: to look through it for garbage again and again is a tenth of the start
for name in (*functions.MODULES, *orchestrations.MODULES):
    app.register_functions(import_module(name).blueprint)
gc.freeze()  # and later collections need not look at it either
gc.enable()
