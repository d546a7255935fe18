# Reads the TAP of one program. Prints what a person needs, writes "NAME PASSED FAILED SKIPPED" to the file `sum`.
# Variables: name, status (exit status of the program), limit (seconds it had), seconds (it took), must (1: a skip is a failure).

function fail(text,    i) {
	failed++
	out = out sprintf("FAIL  %s: %s\n", name, text)
	for (i = 1; i <= n_lines; i++)
		if (i <= 40 || i > n_lines - 40)
			out = out "      " lines[i] "\n"
		else if (i == 41)
			out = out "      ...\n"
}

/^1\.\.[0-9]+/ {
	plan = substr($1, 4) + 0
	planned = 1
	if ($0 ~ /# *[Ss][Kk][Ii][Pp]/ && plan == 0)
		whole_skip = $0
	next
}
/^# begin [0-9]+ / { running = $4; n_lines = 0; next }
/^not ok/ {
	sub(/^not ok *[0-9]* *-? */, "")
	seen++
	fail($0)
	running = ""; n_lines = 0
	next
}
/^ok( |$)/ {
	sub(/^ok *[0-9]* *-? */, "")
	seen++
	if ($0 ~ /# *[Ss][Kk][Ii][Pp]/) {
		if (must == 1 && $0 !~ /# SKIP host: /) {
			fail($0)
		} else {
			skipped++
			out = out sprintf("skip  %s: %s\n", name, $0)
		}
	} else {
		passed++
	}
	running = ""; n_lines = 0
	next
}
/^Bail out!/ { lines[++n_lines] = $0; bailed = 1; next }
{ lines[++n_lines] = $0 }

END {
	passed += 0; failed += 0; skipped += 0
	if (status == 124 || status == 137)
		why = "did not end within " limit " s"
	else if (status > 128)
		why = "was ended by signal " (status - 128)
	else
		why = "exited with status " status
	if (running != "")
		fail(running " (the program " why " in it)")
	else if (bailed)
		fail("bailed out")
	else if (whole_skip != "" && must != 1)
		skipped++
	else if (!planned)
		fail("no plan: the program " why)
	else if (seen < plan)
		fail(sprintf("%d of %d tests did not run: the program %s", plan - seen, plan, why))
	else if (seen > plan)
		fail(sprintf("%d tests ran where %d were planned", seen, plan))
	else if (status != 0 && status != 77 && !failed)
		fail("every test passed, but the program " why)
	else if (plan == 0)
		fail("no tests in it")
	if (!failed)
		out = out sprintf("ok    %s (%d%s)\n", name, passed, seconds > 0 ? " in " seconds " s" : "")
	printf "%s", out
	print name, passed, failed, skipped >sum
}
