#!/bin/sh
# Runs the job (see programs.sh) in a guest whose PID 1 is systemd. The service fsbox-guest, which run.sh's prepare script
# put into the guest, starts it when the machine is up.
. "${0%/*}/programs.sh"
modules || die "no modules"
users
run_programs
end
