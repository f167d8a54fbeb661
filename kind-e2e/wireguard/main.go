// WireGuard in user space, for the lab: `wireguard NAME FILE` has one tunnel on the interface NAME.
//
// FILE says in the words of the kernel-independent configuration protocol (key=value, a line each) what
// keys and peers it has. SIGHUP has it read again: what it says is added to what there is. `wireguard keys`
// prints a private key and the public one that belongs to it.
package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 1 && arguments[0] == "keys" {
		return printKeys()
	}
	if len(arguments) != 2 {
		return fmt.Errorf("usage: wireguard NAME FILE, or wireguard keys")
	}
	return tunnel(arguments[0], arguments[1])
}

func printKeys() error {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	fmt.Printf("%x %x\n", private.Bytes(), private.PublicKey().Bytes())
	return nil
}

func tunnel(name, file string) error {
	link, err := tun.CreateTUN(name, device.DefaultMTU)
	if err != nil {
		return fmt.Errorf("no interface %s: %w", name, err)
	}
	wireguard := device.NewDevice(link, conn.NewDefaultBind(), device.NewLogger(device.LogLevelVerbose, ""))
	defer wireguard.Close()
	if err := configure(wireguard, file); err != nil {
		return err
	}
	if err := wireguard.Up(); err != nil {
		return err
	}
	fmt.Println("the tunnel is up")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	for caught := range signals {
		if caught != syscall.SIGHUP {
			break
		}
		if err := configure(wireguard, file); err != nil {
			return err
		}
		fmt.Println("configured")
	}
	return nil
}

func configure(wireguard *device.Device, file string) error {
	text, err := os.Open(file)
	if err != nil {
		return err
	}
	defer text.Close()
	return wireguard.IpcSetOperation(text)
}
