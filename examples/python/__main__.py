import pulumi
import pulumi_microsandbox as microsandbox

config = pulumi.Config()

sandboxes = microsandbox.Microsandbox(
    "sandboxes",
    host_port=config.get_int("hostPort") or 5555,
    privileged=False,
    memory_limit="2G",
    volumes=microsandbox.VolumesArgs(keep=False),
)

pulumi.export("endpoint", sandboxes.endpoint)
pulumi.export("container", sandboxes.server.container)
