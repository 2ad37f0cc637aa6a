// Command etcdctl is etcd's own command line client, at the version that go.mod pins.
package main

import "go.etcd.io/etcd/etcdctl/v3/ctlv3"

func main() {
	ctlv3.MustStart()
}
