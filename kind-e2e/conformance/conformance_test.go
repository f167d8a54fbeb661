// Package conformance runs the official conformance tests of Gateway API, unmodified, and prints
// what came of each. All flags of the suite are passed through; there is one more, -only.
//
// It is compiled once and kept (kind-e2e/src/cluster/recipes.rs). The module also has the server
// that the tests use as backend, as a tool (go.mod), so that it is of the same release.
package conformance

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

var only = flag.String("only", "", "Comma-separated list of tests to run instead of all; the others are reported as skipped")

func TestConformance(t *testing.T) {
	options := conformance.DefaultOptions(t)
	skipped, err := others(*only)
	if err != nil {
		t.Fatal(err)
	}
	options.SkipTests = append(options.SkipTests, skipped...)
	results := &results{started: time.Now()}
	options.Hook = results.add
	// Also when the setup fails, and before the report.
	t.Cleanup(results.print)
	conformance.RunConformanceWithOptions(t, options)
}

// others names all tests but the wanted ones; none when all are wanted.
func others(wanted string) ([]string, error) {
	if wanted == "" {
		return nil, nil
	}
	left := sets.New(strings.Split(wanted, ",")...)
	var others []string
	for _, test := range tests.ConformanceTests {
		if !left.Has(test.ShortName) {
			others = append(others, test.ShortName)
		}
		left.Delete(test.ShortName)
	}
	if left.Len() > 0 {
		return nil, fmt.Errorf("-only: there is no test %s", strings.Join(sets.List(left), ", "))
	}
	return others, nil
}

type result struct {
	test     suite.ConformanceTest
	verdict  string
	finished time.Time
}

// results of the tests that concern the implementation: those whose features it has.
type results struct {
	lock    sync.Mutex
	started time.Time
	all     []result
}

// add is called when a test is over, also one that was not run.
func (r *results) add(t *testing.T, test suite.ConformanceTest, all *suite.ConformanceTestSuite) {
	if !all.SupportedFeatures.HasAll(test.Features...) {
		return
	}
	verdict := "pass"
	switch {
	case t.Failed():
		verdict = "FAIL"
	case t.Skipped():
		verdict = "skipped"
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.all = append(r.all, result{test, verdict, time.Now()})
}

func (r *results) print() {
	r.lock.Lock()
	defer r.lock.Unlock()
	fmt.Fprintf(os.Stdout, "\n| result  | seconds | test | features |\n|---|---|---|---|\n")
	counts := map[string]int{}
	last := r.started
	for _, result := range r.all {
		counts[result.verdict]++
		seconds := result.finished.Sub(last).Seconds()
		last = result.finished
		var features []string
		for _, feature := range result.test.Features {
			features = append(features, string(feature))
		}
		slices.Sort(features)
		fmt.Fprintf(os.Stdout, "| %-7s | %7.1f | %s | %s |\n",
			result.verdict, seconds, result.test.ShortName, strings.Join(features, ", "))
	}
	fmt.Fprintf(os.Stdout, "\nconformance: %d passed, %d failed, %d skipped\n",
		counts["pass"], counts["FAIL"], counts["skipped"])
}
