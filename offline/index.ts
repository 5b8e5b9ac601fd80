/**
 * Tools for machines that reach package registries alone: built from Go modules that go.sum pins, and a stand-in for the
 * command plugin. setup/tools/resolve.ts is the one door to them; nothing else knows of this folder.
 */
export { buildTool, builtEntry, findBuilt, type GoBuilder } from "./go-build";
export { clusterRecipes, kubernetesPluginRecipe } from "./kubernetes";
export { type GoRecipe, goRecipes } from "./recipes";
export { bundleStandIn, standInEntry } from "./stand-in";
