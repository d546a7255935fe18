#!/bin/sh
# shellcheck disable=SC2115,SC3013 # the folder is made above; dash has -nt
# Puts a Debian kernel for the guests into build/guest/, without installing anything on the host.
#
#   sh tests/guest/kernel.sh 6.1|6.12
#
# The package comes from Debian through apt with lists, cache and sources of its own below build/guest/apt (signatures are
# checked as for any package; the host's proxy settings apply). Result, kept between runs:
#
#   build/guest/KERNEL/vmlinuz           build/guest/KERNEL/initramfs
#   build/guest/KERNEL/lib/modules/...   what tests may want to load, uncompressed, with modules.dep
#
# FSBOX_DEBIAN_MIRROR and FSBOX_DEBIAN_SECURITY name other mirrors. FSBOX_GUEST_REFRESH=1 looks for a newer package.
set -eu
umask 022
here=$(cd "$(dirname "$0")" && pwd)
SRC=$(cd "$here/../.." && pwd)
kernel=${1:?usage: kernel.sh 6.1|6.12}
case $kernel in
6.1) suite=bookworm ;;
6.12) suite=trixie ;;
*)
	echo "kernel.sh: no kernel '$kernel'; there are: 6.1 6.12" >&2
	exit 2
	;;
esac
base=$SRC/build/guest
dir=$base/$kernel
mkdir -p "$base"
# Two runs in one tree fetch one after the other.
exec 8>"$base/.lock"
flock 8

# What is needed before the root file system is there, in the order of their dependencies.
boot_modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci netfs fscache 9pnet 9pnet_virtio 9p
	overlay"
# What tests may load: the folders of the kernel's tree.
folders="fs/9p fs/fscache fs/netfs fs/overlayfs fs/ext4 fs/jbd2 fs/mbcache.ko* fs/xfs fs/quota fs/fuse fs/nls
	drivers/virtio drivers/block/loop.ko* drivers/net/veth.ko* drivers/net/tun.ko* drivers/net/dummy.ko*
	drivers/char/hw_random net/9p net/core net/bridge net/802 net/llc net/netfilter net/ipv4 net/ipv6 net/netlink
	net/packet net/unix lib crypto arch/x86/crypto"

fetch() { # prints the path of the package
	apt=$base/apt/$suite
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts"
	keys=/usr/share/keyrings/debian-archive-keyring.gpg
	{
		echo "deb [signed-by=$keys] ${FSBOX_DEBIAN_MIRROR:-http://deb.debian.org/debian} $suite main"
		echo "deb [signed-by=$keys] ${FSBOX_DEBIAN_SECURITY:-http://deb.debian.org/debian-security} $suite-security main"
	} >"$apt/sources.list"
	: >"$apt/status"
	set -- -qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts="$apt/parts" \
		-o Dir::State::Lists="$apt/lists" -o Dir::State::Status="$apt/status" -o Dir::Cache="$apt/cache" \
		-o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Architecture=amd64 \
		-o APT::Architectures=amd64
	apt-get "$@" update >&2
	package=$(apt-cache "$@" depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
	[ -n "$package" ] || {
		echo "kernel.sh: $suite has no linux-image-amd64" >&2
		return 1
	}
	mkdir -p "$base/deb"
	(cd "$base/deb" && apt-get "$@" download "$package" >&2) || return 1
	find "$base/deb" -name "${package}_*.deb" | sort -V | tail -n 1
}

unpack() { # DEB DIRECTORY
	set -f
	patterns=
	for f in $folders; do
		case $f in
		*.ko*) patterns="$patterns ./lib/modules/*/kernel/$f ./usr/lib/modules/*/kernel/$f" ;;
		*) patterns="$patterns ./lib/modules/*/kernel/$f/* ./usr/lib/modules/*/kernel/$f/*" ;;
		esac
	done
	# tar complains of the pattern that fits no file: each folder is given at its two possible places.
	# shellcheck disable=SC2086 # words
	dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --wildcards './boot/*' './lib/modules/*/modules.*' \
		'./usr/lib/modules/*/modules.*' $patterns 2>"$2/tar.log" || true
	set +f
	[ ! -d "$2/usr/lib/modules" ] || {
		mkdir -p "$2/lib"
		mv "$2/usr/lib/modules" "$2/lib/modules"
	}
	mv "$2"/boot/vmlinuz-* "$2/vmlinuz"
	mv "$2"/boot/config-* "$2/config"
	rm -rf "$2/boot" "$2/usr"
	find "$2/lib" -name '*.ko.xz' -print0 | xargs -0 -r xz -d
	find "$2/lib" -name '*.ko.zst' -print0 | xargs -0 -r zstd -q -d --rm
	release=$(ls "$2/lib/modules")
	[ -f "$2/lib/modules/$release/kernel/fs/9p/9p.ko" ] || {
		cat "$2/tar.log" >&2
		echo "kernel.sh: $1 has not the modules that the guest boots with" >&2
		return 1
	}
	rm -f "$2/tar.log"
	echo "$release" >"$2/release"
}

initramfs() { # DIRECTORY: a static shell, the modules and the script that finds the root
	rm -rf "$1/ram"
	mkdir -p "$1/ram/bin" "$1/ram/modules" "$1/ram/proc" "$1/ram/sys" "$1/ram/dev" "$1/ram/run" "$1/ram/lower" "$1/ram/upper" \
		"$1/ram/root"
	cp "$(command -v busybox)" "$1/ram/bin/busybox"
	ln -s busybox "$1/ram/bin/sh"
	cp "$here/initramfs.sh" "$1/ram/init"
	chmod 755 "$1/ram/init"
	for m in $boot_modules; do
		file=$(find "$1/lib/modules" -name "$m.ko")
		# A newer kernel may have it built in, or have merged it into another.
		[ -z "$file" ] || {
			cp "$file" "$1/ram/modules/"
			echo "$m"
		}
	done >"$1/ram/modules/order"
	(cd "$1/ram" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$1/initramfs.new"
	mv "$1/initramfs.new" "$1/initramfs"
	rm -rf "$1/ram"
}

if [ ! -f "$dir/vmlinuz" ] || [ "${FSBOX_GUEST_REFRESH-}" = 1 ]; then
	echo "kernel.sh: fetching Debian's $kernel kernel ($suite)" >&2
	deb=$(fetch)
	new=$base/$kernel.new
	rm -rf "$new"
	mkdir -p "$new"
	unpack "$deb" "$new"
	rm -rf "$dir"
	mv "$new" "$dir"
	rm -f "$deb"
fi
# kmod's modprobe reads its own binary form, which only kmod's depmod writes; busybox's reads the text beside it.
if [ ! -f "$dir/lib/modules/$(cat "$dir/release")/modules.dep.bin" ]; then
	PATH=$PATH:/usr/sbin:/sbin depmod -b "$dir" "$(cat "$dir/release")"
fi
if [ ! -f "$dir/initramfs" ] || [ "$here/initramfs.sh" -nt "$dir/initramfs" ] || [ "$here/kernel.sh" -nt "$dir/initramfs" ]; then
	initramfs "$dir"
fi
