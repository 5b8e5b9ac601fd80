// pulumi-resource-docker serves the upstream Docker provider through Pulumi's Terraform bridge, with the
// tokens and property names of npm @pulumi/docker 5.2.0. It is built where the vendor's plugin, which is
// made of the same two halves, can't be downloaded. Not in it: docker.Image (native to the vendor's
// plugin), and the Swarm, plugin and buildx resources, which the stack does not use.
package main

import (
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/terraform-providers/terraform-provider-docker/shim"
)

// version is set by the linker.
var version = "5.2.0"

func main() {
	// The package schema is for code generation; the npm package has been generated already.
	tfbridge.Main("docker", version, provider(), []byte(`{"name":"docker","version":"`+version+`"}`))
}

func provider() tfbridge.ProviderInfo {
	resource := func(module, name string) tokens.Type {
		return tokens.Type("docker:index/" + module + ":" + name)
	}
	function := func(name string) tokens.ModuleMember {
		return tokens.ModuleMember("docker:index/" + name + ":" + name)
	}
	named := func() map[string]*tfbridge.SchemaInfo {
		return map[string]*tfbridge.SchemaInfo{"name": tfbridge.AutoName("name", 255, "-")}
	}
	// Lists that the npm package does not name in the plural.
	container := named()
	container["command"] = &tfbridge.SchemaInfo{Name: "command"}
	container["networks_advanced"] = &tfbridge.SchemaInfo{Name: "networksAdvanced"}

	return tfbridge.ProviderInfo{
		P:              shimv2.NewProvider(shim.NewProvider(version)),
		Name:           "docker",
		Version:        version,
		ResourcePrefix: "docker",
		Config: map[string]*tfbridge.SchemaInfo{
			"registry_auth": {Name: "registryAuth"},
		},
		Resources: map[string]*tfbridge.ResourceInfo{
			// Two containers can't hold one name or one host port, so the old one goes first.
			"docker_container":      {Tok: resource("container", "Container"), Fields: container, DeleteBeforeReplace: true},
			"docker_image":          {Tok: resource("remoteImage", "RemoteImage"), Fields: map[string]*tfbridge.SchemaInfo{"name": {Name: "name"}}},
			"docker_network":        {Tok: resource("network", "Network"), Fields: named()},
			"docker_volume":         {Tok: resource("volume", "Volume"), Fields: named()},
			"docker_tag":            {Tok: resource("tag", "Tag")},
			"docker_registry_image": {Tok: resource("registryImage", "RegistryImage"), Fields: named()},
		},
		DataSources: map[string]*tfbridge.DataSourceInfo{
			"docker_image":          {Tok: function("getRemoteImage")},
			"docker_network":        {Tok: function("getNetwork")},
			"docker_registry_image": {Tok: function("getRegistryImage")},
		},
	}
}
