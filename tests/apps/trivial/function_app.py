"""The least a functions app can be: for benches, which compare it with a bare server."""

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="pong", methods=["GET"])
async def pong(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("pong")


@app.route(route="pong-in-a-thread", methods=["GET"])
def pong_in_a_thread(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("pong")
