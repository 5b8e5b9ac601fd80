// Package shim hands out the upstream Docker provider, which its module keeps in an internal package.
// Go judges "internal" by import path, so a module whose path lies below the upstream one may import it.
package shim

import (
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// NewProvider makes the upstream provider; version goes into its user agent.
func NewProvider(version string) *schema.Provider {
	return provider.New(version)()
}
