#!/usr/bin/env python3
"""Generated config.json bundles on two OCI runtimes: the process inside must find the same.

    oci_bundles.py DIR ROUNDS SEED OURS PEER    DIR/rootfs: a root of busybox; OURS, PEER: a runtime with its options

Prints each difference with the number of its bundle, which stays in DIR/differs-N.json. Exit status 1 when there is one that is
not explained below.
"""
import copy
import json
import os
import random
import re
import shlex
import subprocess
import sys

# What differs and may, with the reason.
EXPLAINED = [
    (r"/sys/fs/cgroup (ro|rw),.* tmpfs tmpfs", "we make the tmpfs of v1's hierarchies read-only as asked, runc leaves it writable"),
    (r"- (sysfs sysfs|tmpfs \S+) (ro|rw)", "runc makes the file system read-only as well, not only its mount"),
    (r"- cgroup (systemd|cgroup) ", "the source's name of a hierarchy"),
    (r"^. c 10:200 rwm$", "runc before 1.2 allows tun to everybody"),
    (r"^. HOME=/?$", "without a line in passwd: / here, empty with runc before 1.2"),
]
PROBE = r"""
id; pwd; umask; hostname; env | grep -v '^H_' | sort
grep -E "^(Cap|NoNew|Seccomp:|Groups)" /proc/self/status; cat /proc/self/limits /proc/self/oom_score_adj
for n in cgroup ipc mnt net pid uts user; do
	echo "ns $n $([ "$(readlink /proc/self/ns/$n)" = "$(eval echo \$H_$n)" ] && echo host || echo own)"
done
sed 's/^[0-9]* [0-9]* [0-9:]* //' /proc/self/mountinfo
ls -l /dev | sed 's/[A-Z][a-z][a-z] [0-9 ]*[0-9:]* //'
cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; ls /proc/self/fd | wc -l
for f in memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes pids/pids.max cpu/cpu.shares cpu/cpu.cfs_quota_us \
	cpu/cpu.cfs_period_us cpuset/cpuset.cpus devices/devices.list; do cat /sys/fs/cgroup/$f; done 2>&1
ip addr show dev lo | grep -o '<.*>\|inet6* [^ ]*'; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni
touch /x 2>&1; mkdir /dev/x 2>&1; mkdir /tmp/made 2>&1; chmod 700 /b/f 2>&1; cat /b/f 2>&1; echo w >/t/f 2>&1 && echo written
exit $RC
"""
NAMESPACES = ["cgroup", "ipc", "mnt", "net", "pid", "uts", "user"]
CAPS = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_MKNOD", "CAP_SETUID", "CAP_DAC_OVERRIDE", "CAP_SYS_CHROOT"]


def some(rnd, words, most=None):
    return rnd.sample(words, rnd.randint(0, len(words) if most is None else most))


def add_process(rnd, config):
    process = config["process"]
    process["terminal"] = False
    process["args"] = ["sh", "-c", PROBE]
    process["env"] += ["H_%s=%s" % (n, os.readlink("/proc/self/ns/" + n)) for n in NAMESPACES]
    process["env"].append("RC=%d" % rnd.choice([0, 1, 42]))
    if rnd.random() < 0.4:
        process["user"] = {"uid": rnd.choice([0, 1, 1000]), "gid": rnd.choice([0, 5]), "additionalGids": some(rnd, [5, 7, 20])}
    if rnd.random() < 0.3:
        process["user"]["umask"] = rnd.choice([0o22, 0o77, 0])
    if rnd.random() < 0.3:
        process["cwd"] = rnd.choice(["/root", "/made/here", "/proc"])
    if rnd.random() < 0.2:
        process["env"] += ["X=first", "X=last"]
    if rnd.random() < 0.6:
        bounding = some(rnd, CAPS)
        permitted = some(rnd, bounding)
        process["capabilities"] = {"bounding": bounding, "permitted": permitted, "effective": some(rnd, permitted)}
        if rnd.random() < 0.4:
            process["capabilities"].update(inheritable=permitted, ambient=some(rnd, permitted))
    process["noNewPrivileges"] = rnd.random() < 0.5
    if rnd.random() < 0.4:
        process["oomScoreAdj"] = rnd.choice([0, 100, 1000])


def add_namespaces(rnd, config):
    linux = config["linux"]
    if rnd.random() < 0.3:
        linux["namespaces"].append({"type": "cgroup"})
    if rnd.random() < 0.2:
        linux["namespaces"].append({"type": "user"})
        for key in "uidMappings", "gidMappings":
            linux[key] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    if rnd.random() < 0.15:
        linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] != "uts"]
        config.pop("hostname", None)
    if rnd.random() < 0.3:
        linux["sysctl"] = {"kernel.shmmni": "123", "net.ipv4.ip_forward": "1"}
    if rnd.random() < 0.2:
        linux["rootfsPropagation"] = rnd.choice(["private", "slave", "rprivate", "shared"])


def add_mounts(rnd, config, source):
    config["root"]["readonly"] = rnd.random() < 0.5
    bind = [rnd.choice(["bind", "rbind"])] + some(rnd, ["ro", "nosuid", "nodev", "noexec", "noatime"], 3) + some(rnd, ["rprivate"])
    tmpfs = some(rnd, ["nosuid", "nodev", "noexec", "size=1m", "mode=700", "ro"])
    for mount in (
        {"destination": "/b", "type": "bind", "source": source, "options": bind},
        {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": tmpfs},
        {"destination": "/deep/x/y", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/link/y", "type": "tmpfs", "source": "tmpfs"},
    ):
        if rnd.random() < 0.35:
            config["mounts"].append(mount)
    for key in "maskedPaths", "readonlyPaths":
        config["linux"][key] = some(rnd, config["linux"].get(key, []))


def add_limits(rnd, config):
    resources = config["linux"].setdefault("resources", {})
    if rnd.random() < 0.3:
        resources["memory"] = {"limit": rnd.choice([33554432, -1]), "reservation": 16777216}
    if rnd.random() < 0.3:
        resources["pids"] = {"limit": rnd.choice([50, -1])}
    if rnd.random() < 0.3:
        resources["cpu"] = {"shares": rnd.choice([2, 512]), "quota": 50000, "period": 100000}
    if rnd.random() < 0.3:
        fuse = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
        resources["devices"] = rnd.choice([[], [{"allow": False, "access": "rwm"}, fuse]])
        config["linux"]["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o660, "gid": 5}]
    if rnd.random() < 0.3:
        refused = {"names": ["mkdir", "mkdirat", "no_such"], "action": "SCMP_ACT_ERRNO", "errnoRet": rnd.choice([1, 5])}
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}


def add_mistake(rnd, config):
    bad = {"destination": "/q", "type": "bind", "source": "/nosuch", "options": ["bind"]}
    rnd.choice([
        lambda: config["process"].update(args=[]),
        lambda: config["process"].update(args=["nosuch"]),
        lambda: config["process"].update(args=["/etc"]),
        lambda: config["process"].update(cwd="relative"),
        lambda: config["linux"]["namespaces"].append({"type": "mount"}),
        lambda: config["mounts"].append(bad),
        lambda: config["linux"].update(sysctl={"kernel.panic": "1"}),
        lambda: config["linux"].update(rootfsPropagation="bogus"),
    ])()


def generate(rnd, base, source):
    config = copy.deepcopy(base)
    add_process(rnd, config)
    add_namespaces(rnd, config)
    add_mounts(rnd, config, source)
    add_limits(rnd, config)
    if rnd.random() < 0.15:
        add_mistake(rnd, config)
    return config


def restore(root):
    script = 'cd "$1" && rm -rf x made deep b t q target dev proc sys tmp && mkdir -m 1777 tmp && mkdir target && ln -sfn /target link'
    subprocess.run(["sh", "-c", script, "sh", root], check=True)


def run(runtime, bundle, name):
    restore(os.path.join(bundle, "rootfs"))
    try:
        done = subprocess.run(runtime + ["run", "-b", bundle, name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        subprocess.run(runtime + ["delete", "-f", name], stderr=subprocess.DEVNULL, check=False)
        return None
    # With rootfsPropagation shared runc leaves the root private.
    out = re.sub(r"master:\d+", "master:N", re.sub(r" shared:\d+", "", done.stdout.decode(errors="replace")))
    return done.returncode, re.sub(r"\S*/" + re.escape(name) + r"\b", "/GROUP", out).splitlines(), done.stderr.decode(errors="replace")


def compare(ours, peer):
    found = []
    if ours[0] != peer[0]:
        found.append("status %d and %d: %s | %s" % (ours[0], peer[0], ours[2].strip()[-150:], peer[2].strip()[-150:]))
    found += ["< " + line for line in ours[1] if line not in peer[1]]
    found += ["> " + line for line in peer[1] if line not in ours[1]]
    return [line for line in found if not any(re.search(pattern, line) for pattern, _ in EXPLAINED)]


def main():
    bundle, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ours, peer = shlex.split(sys.argv[4]), shlex.split(sys.argv[5])
    rnd = random.Random(seed)
    source = os.path.join(bundle, "source")
    os.makedirs(source, exist_ok=True)
    with open(os.path.join(source, "f"), "w", encoding="utf-8") as file:
        file.write("file\n")
    subprocess.run(peer + ["spec", "-b", bundle], check=True)
    path = os.path.join(bundle, "config.json")
    with open(path, encoding="utf-8") as file:
        base = json.load(file)
    differing = 0
    for number in range(rounds):
        config = generate(rnd, base, source)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        name = "fsbox-test-%d-d%d" % (os.getpid(), number)
        here, there = run(ours, bundle, name), run(peer, bundle, name)
        if not there: # seen with runc 1.1.5 on a busy machine
            print("bundle %d: the peer hangs" % number)
            continue
        found = compare(here, there) if here else ["hangs"]
        if found:
            differing += 1
            os.replace(path, os.path.join(bundle, "differs-%d.json" % number))
            print("\n".join("bundle %d: %s" % (number, line) for line in found))
    print("%d bundles with seed %d, %d differ" % (rounds, seed, differing))
    return differing > 0


if __name__ == "__main__":
    sys.exit(main())
