//! A shell's work: busybox runs a script.

use crate::Check;
use std::process::{Command, Stdio};

pub const CHECKS: &[Check] = &[
    ("shell_script", script),
    ("shell_background_and_traps", background),
    ("shell_pipeline_of_many", pipeline),
];

fn shell(text: &str) -> String {
    let output = Command::new("/bin/busybox")
        .args(["sh", "-c", text])
        .stdin(Stdio::null())
        .env("PATH", "/bin:/usr/bin")
        .output()
        .expect("spawn");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn script() {
    let said = shell(
        r#"
set -e
b=/bin/busybox
folder=/tmp/user_worlds.shell.$$
$b mkdir -p $folder; cd $folder
echo "sum $((6 * 7))"
printf '%s\n' c a b | $b sort | $b tr '\n' ' '; echo
words=$(for i in 1 2 3; do echo "w$i"; done)
echo "$words" | $b wc -l | $b tr -d ' '
$b cat <<END
here $(echo inner) ${words%%w2*}
END
echo one > file; echo two >> file; $b cat < file
(exit 3) || echo "status $?"
if [ -f file ] && [ ! -d file ]; then echo plain; fi
f() { local x=$1; [ $x -le 1 ] && echo 1 || echo $(( x * $(f $((x - 1))) )); }
f 5
exec 5> five; echo through >&5; exec 5>&-; $b cat five
$b rm -r $folder
"#,
    );
    assert_eq!(
        said,
        "sum 42\na b c \n3\nhere inner w1\n\none\ntwo\nstatus 3\nplain\n120\nthrough\n"
    );
}

fn background() {
    let said = shell(
        r#"
b=/bin/busybox
trap 'echo trapped' USR1
trap 'echo leaving' EXIT
(exit 7) & first=$!
$b sleep 100 & second=$!
wait $first; echo "first $?"
kill $second; wait $second; echo "second $?"
kill -USR1 $$
for i in 1 2 3 4 5; do (echo $i > /dev/null) & done; wait
echo done
"#,
    );
    assert_eq!(said, "first 7\nsecond 143\ntrapped\ndone\nleaving\n");
}

fn pipeline() {
    let said = shell(
        "b=/bin/busybox; $b seq 1 20000 | $b grep 7 | $b sort -rn | $b head -n 3 | $b sed s/^/n/ | $b cat",
    );
    assert_eq!(said, "n19997\nn19987\nn19979\n");
    let yes = shell("b=/bin/busybox; $b yes | $b head -n 2");
    assert_eq!(yes, "y\ny\n");
}
