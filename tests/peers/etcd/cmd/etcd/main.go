// Command etcd is etcd's own server, at the version that go.mod pins: the reference that Holdfast is
// measured against.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
