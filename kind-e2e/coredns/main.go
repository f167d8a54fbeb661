// CoreDNS, with the plugins that the conformance tests of Gateway API and those of vipgate configure.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/whoami"
)

func main() {
	// The order in which a query passes them, as CoreDNS has it by default.
	dnsserver.Directives = []string{"errors", "log", "forward", "whoami"}
	coremain.Run()
}
