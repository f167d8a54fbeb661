// Command controlplane is a Kubernetes control plane in one file, for the lab: etcd,
// kube-apiserver, kube-controller-manager, kube-proxy and kubectl, each the upstream program from
// its Go module, at one pinned version (go.mod).
//
// Nothing is added and nothing is wrapped. It is one file because the five share most of their
// code: one link instead of five, and a third of the disk. It is not one process, because a test
// must be able to kill, stop and restart the API server alone, and because the same command lines
// then also drive the programs somebody has installed, as for KUBEBUILDER_ASSETS.
//
// The name it is called by says which program it is, as with busybox: the lab makes a symbolic
// link for each. By its own name it takes the program as the first argument.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Each runs with os.Args as its own program would have it, and returns the exit code.
var programs = map[string]func() int{
	"etcd":                    etcd,
	"kube-apiserver":          apiServer,
	"kube-controller-manager": controllerManager,
	"kube-proxy":              proxy,
	"kubectl":                 kubectl,
}

func main() {
	name := filepath.Base(os.Args[0])
	if programs[name] == nil && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	program := programs[name]
	if program == nil {
		fmt.Fprintf(os.Stderr, "usage: controlplane %s [argument ...]\n", strings.Join(names(), "|"))
		os.Exit(2)
	}
	os.Exit(program())
}

func names() []string {
	var names []string
	for name := range programs {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
