#!/bin/bash
# Runs tests inside the virtual machine and says on the console what came of each: lines that begin with "kernels:". Called by
# scripts/kernels/init, whose FG_ variables it finds; the tests are lines of scripts/kernels/tests.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
out=/run/out
exe_list=$out/executables

mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs run /run
mkdir -p /run/netns $out /dev/pts /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 out $out
# The kernel loads its modules by itself, from where a machine has them.
mkdir -p "/lib/modules/$(uname -r)"
mount --bind "$FG_modules" "/lib/modules/$(uname -r)"
# Here is nobody who looks for devices and loads their drivers, or makes device nodes for them.
modprobe -a virtio_net tun
ip link set lo up
hostname floodgate-kernels
# What the kernel says of memory, locks and the like is the test's business; all else would only be in the way.
dmesg -n 4
echo "kernels: up $(uname -r)"

# A skipped test is no test here: the machine is made for them.
export FLOODGATE_REQUIRE_ALL=1 FLOODGATE_KERNELS=1 RUST_BACKTRACE=0
[ -z "$FG_program" ] || export FLOODGATE=$FG_program

seconds() { cut -d' ' -f1 /proc/uptime; }

number=0
while read -r _ name most executable arguments; do
    number=$((number + 1))
    most=$((most * ${FG_patience:-1}))
    case ",$FG_tests," in *",$number,"*) ;; *) continue ;; esac
    case $executable in
    scripts/*)
        path=$FG_source/$executable
        cd "$FG_source" || exit
        ;;
    *)
        path=$(awk -v name="$executable" '$1 == name { print $2 }' "$exe_list")
        # Where cargo runs a package's tests.
        cd "$FG_source/crates/${executable%%/*}" || exit
        ;;
    esac
    before=$(seconds) status=0
    echo "kernels: start $number"
    variables=() words=()
    for word in $arguments; do
        case $word in
        [A-Z]*=*) variables+=("$word") ;;
        *) words+=("$word") ;;
        esac
    done
    [[ $executable == scripts/* ]] || words=(--test-threads=1 "${words[@]}")
    timeout -k 5 "$most" env "${variables[@]}" "$path" "${words[@]}" >"$out/$name.log" 2>&1 </dev/null || status=$?
    # A list that names no test that there is would otherwise pass for ever.
    [[ $executable == scripts/* ]] && passed=1 || passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$out/$name.log")
    case $status,${passed:-0} in
    0,0) status="no test has this name" ;;
    0,*) status=ok ;;
    124,*) status="not ready after $most s" ;;
    *) status=failed ;;
    esac
    echo "kernels: result $number $(echo "$before $(seconds)" | awk '{ printf "%.0f", $2 - $1 }') $status"
    dmesg -c >>"$out/dmesg"
done < <(sed '/^#/d; /^$/d' "$FG_source/scripts/kernels/tests")
echo "kernels: end"
sync
poweroff -f || busybox poweroff -f
