# Read before each command of the build. deployer-proxy.sh, where there is one, names the proxy that leads from the build
# machine to the internet; components/image/deployer-proxy.ts writes it.
[ ! -e /build/build/deployer-proxy.sh ] || . /build/build/deployer-proxy.sh
