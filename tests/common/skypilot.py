"""SkyPilot itself reads its settings, and the tasks in the pages that are named."""

import os
import re
import sys

import sky
from sky import skypilot_config
from sky.clouds import GCP
from sky.utils import common_utils, schemas, yaml_utils

file = os.environ["SKYPILOT_GLOBAL_CONFIG"]
common_utils.validate_schema(yaml_utils.read_yaml(file), schemas.get_config_schema(), "")
project = GCP.get_project_id()
assert project == sys.argv[1], project
settings = skypilot_config.get_nested(("gcp",), {})
assert settings["vpc_name"] == "skypilot" and settings["remote_identity"] == "SERVICE_ACCOUNT", settings

for page in sys.argv[2:]:
    with open(page, encoding="utf-8") as opened:
        tasks = re.findall(r"^```yaml\n(.*?)^```", opened.read(), re.MULTILINE | re.DOTALL)
    assert tasks, f"no task in {page}"
    for text in tasks:
        task = sky.Task.from_yaml_config(yaml_utils.safe_load(text))
        for resources in task.resources:
            print(f"{task.name}: {task.num_nodes} x {resources}")
            assert isinstance(resources.cloud, GCP), resources
