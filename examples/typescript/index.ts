import { local } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { Microsandbox } from "microsandbox-stack";

const config = new pulumi.Config();

/**
 * Stands for a VM of any provider: what matters is that its address is an output, known once the VM is there.
 * With a cloud: `new hcloud.Server("vm", { … })` or `new aws.ec2.Instance("vm", { … })`.
 */
const vm = new local.Command("vm", { create: `echo ${config.get("address") ?? "10.1.2.3"}` });

const sandboxes = new Microsandbox("sandboxes", {
  host: pulumi.interpolate`ssh://root@${vm.stdout}`,
  sshKeyFile: config.get("sshKeyFile"),
  // Of cloud-init's `ssh_keys`, or an output of the provider: the new machine is in no known_hosts file.
  sshHostKey: config.get("sshHostKey"),
  hostPort: config.getNumber("hostPort"),
  // Keys are checked, and the first deployment makes one.
  devMode: false,
  // /dev/kvm, and nothing else of the machine.
  privileged: false,
  memoryLimit: "2G",
  volumes: { keep: false },
});

export const endpoint = sandboxes.endpoint;
export const apiKey = sandboxes.apiKey;
export const container = sandboxes.container.name;
