"""Where `label-studio-ml start backend`, and any WSGI server, finds the backend."""

import argparse
import os
import sys

from prepal import logs, settings
from prepal.errors import PrepalError
from prepal.server.app import create_app
from prepal.server.process import load_the_rest, serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="PRepAL, as an ML backend of Label Studio")
    parser.add_argument("-p", "--port", type=int, default=int(os.environ.get("PORT", "9090")), help="server port")
    parser.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"), help="server host")
    parser.add_argument("--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"], help="logging level")
    arguments = parser.parse_args()
    try:
        loaded = settings.load()
    except PrepalError as error:
        sys.exit(str(error))
    if arguments.log_level:
        loaded = loaded.model_copy(update={"log_level": arguments.log_level})
    logs.configure(loaded.log_level, loaded.log_format)
    serve(loaded, arguments.host, arguments.port)
else:
    load_the_rest()
    app = create_app(settings.load())
