# pyright: basic
"""Serves NeMo Guardrails with the folder `content_safety`, as fast as it can be: `make bench-rails` starts it.

    .venv-nemo/bin/python benchmarks/iorails/nemo/serve.py --port PORT FOLDER

It is the server of the package, one process as `nemoguardrails server` starts it, with three differences: the engine
IORails, uvloop, and no logging. The server would write every prompt to its log, which no option of it switches off.
"""

import argparse
import logging
import os
from importlib.metadata import version
from pathlib import Path

os.environ |= {
    "NEMO_GUARDRAILS_IORAILS_ENGINE": "1",
    "NEMO_GUARDRAILS_NO_USAGE_STATS": "1",
    "NEMO_GUARDRAILS_DISABLE_CHAT_UI": "true",
    "OPENAI_API_KEY": "none",  # nothing but the mock engines is asked
}

import uvicorn
from nemoguardrails import Guardrails, RailsConfig
from nemoguardrails.server import api


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="with config.yml and prompts.yml")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    folder = options.folder.resolve()
    # Raises if IORails cannot run this folder: the server itself would fall back to the slower engine with a warning.
    Guardrails(RailsConfig.from_path(str(folder)), use_iorails=True, require_iorails=True)
    print("nemoguardrails", version("nemoguardrails"), "with IORails", flush=True)
    logging.disable(logging.CRITICAL)
    api.app.rails_config_path = str(folder)
    api.set_default_config_id(folder.name)
    uvicorn.run(
        api.app,
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
    )


if __name__ == "__main__":
    main()
