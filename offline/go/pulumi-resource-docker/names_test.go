package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim"
)

const npmPackage = "../../../node_modules/@pulumi/docker"

// Read-only outputs and names the npm package has beyond the arguments are not looked at: what a program
// can pass in has to arrive under the name that the provider expects.
func TestArgumentNamesMatchTheNpmPackage(t *testing.T) {
	info := provider()
	nested := interfaces(t, filepath.Join(npmPackage, "types", "input.d.ts"))
	for name, resource := range info.Resources {
		module := strings.Split(strings.TrimPrefix(string(resource.Tok), "docker:index/"), ":")[0]
		class := strings.Split(string(resource.Tok), ":")[2]
		args := interfaces(t, filepath.Join(npmPackage, module+".d.ts"))[class+"Args"]
		compare(t, nested, class, args, info.P.ResourcesMap().Get(name).Schema(), resource.Fields)
	}
	args := interfaces(t, filepath.Join(npmPackage, "provider.d.ts"))["ProviderArgs"]
	compare(t, nested, "Provider", args, info.P.Schema(), info.Config)
}

func compare(t *testing.T, nested map[string]map[string]string, where string, args map[string]string,
	schema shim.SchemaMap, fields map[string]*tfbridge.SchemaInfo,
) {
	t.Helper()
	if len(args) == 0 {
		t.Fatalf("%s: no arguments found in the npm package", where)
	}
	known := map[string]shim.Schema{}
	schema.Range(func(key string, value shim.Schema) bool {
		known[tfbridge.TerraformToPulumiNameV2(key, schema, fields)] = value
		return true
	})
	for arg, kind := range args {
		property, found := known[arg]
		if !found {
			t.Errorf("%s: npm has %q, the provider does not", where, arg)
			continue
		}
		list := strings.Contains(kind, "[]")
		block, isBlock := property.Elem().(shim.Resource)
		wantsList := (property.Type() == shim.TypeList || property.Type() == shim.TypeSet) &&
			!tfbridge.IsMaxItemsOne(property, fields[tfbridge.PulumiToTerraformName(arg, schema, fields)])
		if list != wantsList {
			t.Errorf("%s.%s: npm has %s, the provider wants a list: %v", where, arg, kind, wantsList)
		}
		input := regexp.MustCompile(`inputs\.(\w+)`).FindStringSubmatch(kind)
		if isBlock && input != nil {
			compare(t, nested, input[1], nested[input[1]], block.Schema(), nil)
		}
	}
}

// interfaces reads `export interface X { name?: type; }` out of a generated declaration file.
func interfaces(t *testing.T, file string) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run npm ci first)", err)
	}
	result := map[string]map[string]string{}
	for _, match := range regexp.MustCompile(`(?ms)^export interface (\w+) \{\n(.*?)^\}`).FindAllStringSubmatch(string(text), -1) {
		result[match[1]] = map[string]string{}
		for _, field := range regexp.MustCompile(`(?m)^    (\w+)\??: (.*)$`).FindAllStringSubmatch(match[2], -1) {
			result[match[1]][field[1]] = field[2]
		}
	}
	return result
}
