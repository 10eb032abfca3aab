//! What was typed after `cargo xtask`.
//!
//! Main type: [`Verb`]. Every refusal is a sentence that names the word and what is allowed.

/// The help text.
pub const USAGE: &str = "\
usage: cargo xtask VERB

  run      build Alster, boot it in QEMU with a demo VM, and attach this terminal
             --headless        no terminal: the demo VM boots to its shell and powers off;
                               the exit status is the verdict
             --cpus N          processors of the machine, 1 to 64 (default 2)
             --mem MIB         its memory in MiB, at least 256 (default 2048)
             --accel tcg|kvm   who executes it (default tcg)
             --disk FILE       a raw image as a virtio disk; may be given several times
             --append WORDS    more words for the kernel's command line
             --gdb             wait for a debugger on port 1234
             --peer            Linux with KVM as the host instead, with the same programs
  test     every test: on this machine first, then in QEMU
             --host | --qemu   only one half
             --peer            the test programs on Linux instead: are the tests right?
             NAME ...          only the QEMU tests whose names contain one of these
  check    formatting, lints, layers, licences, unsafe rules, budgets
  bench    the figures of SPECIFICATION.md, here and on Linux with KVM
             --alone           not on Linux
             --profile FIGURE  where the instructions of this one go, by function, instead
             NAME ...          only figures whose names contain one of these
  build    kernel, programs and boot archive, without booting them
  setup    only what the other verbs do first: packages, compiler, Debian's kernel";

/// One verb with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Print the help.
    Help,
    /// Prepare the machine.
    Setup,
    /// Build everything that is booted.
    Build,
    /// Boot it.
    Run(RunOptions),
    /// The gates that need no machine.
    Check,
    /// Every test.
    Test(TestOptions),
    /// The figures.
    Bench(BenchOptions),
}

/// The options of `bench`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BenchOptions {
    /// Only figures whose names contain one of these; all if there are none.
    pub names: Vec<String>,
    /// Leave Linux out.
    pub alone: bool,
    /// The figure to be profiled.
    pub profile: Option<String>,
}

/// The options of `test`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestOptions {
    /// Run the tests that need no machine.
    pub on_host: bool,
    /// Run those in QEMU.
    pub in_qemu: bool,
    /// Run the test programs on Linux instead.
    pub on_peer: bool,
    /// Only the QEMU tests whose names contain one of these; all if there are none.
    pub names: Vec<String>,
}

/// The options of `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Unattended, with a verdict.
    pub headless: bool,
    /// Processors.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u32,
    /// Whether KVM is to execute it.
    pub kvm: bool,
    /// Disk images.
    pub disks: Vec<String>,
    /// More words for the kernel's command line.
    pub append: String,
    /// Wait for a debugger.
    pub gdb: bool,
    /// Boot Linux with KVM instead of Alster, with the same programs.
    pub peer: bool,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            headless: false,
            cpus: 2,
            memory_mib: 2048,
            kvm: false,
            disks: Vec::new(),
            append: String::new(),
            gdb: false,
            peer: false,
        }
    }
}

/// Reads the words after `cargo xtask`.
pub fn parse(words: &[String]) -> Result<Verb, String> {
    let mut words = words.iter().map(String::as_str);
    let verb = words.next().unwrap_or("help");
    let rest: Vec<&str> = words.collect();
    match verb {
        "help" | "--help" | "-h" => Ok(Verb::Help),
        "setup" | "set-up" => bare(verb, &rest, Verb::Setup),
        "test" => test_options(&rest).map(Verb::Test),
        "bench" => bench_options(&rest).map(Verb::Bench),
        "check" => bare(verb, &rest, Verb::Check),
        "build" => bare(verb, &rest, Verb::Build),
        "run" => run_options(&rest).map(Verb::Run),
        other => Err(format!(
            "There is no verb {other:?}; there are run, test, check, bench, build and setup."
        )),
    }
}

fn bare(name: &str, rest: &[&str], verb: Verb) -> Result<Verb, String> {
    match rest.first() {
        None => Ok(verb),
        Some(word) => Err(format!("{name} takes no options, and got {word:?}.")),
    }
}

fn run_options(words: &[&str]) -> Result<RunOptions, String> {
    let mut options = RunOptions::default();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        // Both `--cpus 4` and `--cpus=4` are common.
        let (name, given) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let mut value = |what: &str| {
            given
                .or_else(|| words.next())
                .ok_or_else(|| format!("{name} wants {what} behind it."))
        };
        match name {
            "--headless" => options.headless = true,
            "--gdb" => options.gdb = true,
            "--peer" => options.peer = true,
            "--cpus" => options.cpus = number(name, value("a number")?, 1, 64)?,
            "--mem" => options.memory_mib = number(name, value("a number of MiB")?, 256, 1 << 20)?,
            "--accel" => options.kvm = accelerator(value("tcg or kvm")?)?,
            "--disk" => options.disks.push(value("a file")?.to_owned()),
            "--append" => options.append = value("words")?.to_owned(),
            _ => return Err(format!("run has no option {word:?}.")),
        }
    }
    Ok(options)
}

fn bench_options(words: &[&str]) -> Result<BenchOptions, String> {
    let mut options = BenchOptions::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--alone" => options.alone = true,
            "--profile" => {
                let figure = words.next();
                let figure = figure.ok_or("--profile wants the name of a figure behind it.")?;
                options.profile = Some((*figure).to_owned());
            }
            name if name.starts_with('-') => {
                return Err(format!(
                    "bench has no option {name:?}; there are --alone and --profile."
                ));
            }
            name => options.names.push(name.to_owned()),
        }
    }
    Ok(options)
}

fn test_options(words: &[&str]) -> Result<TestOptions, String> {
    let mut options = TestOptions {
        on_host: true,
        in_qemu: true,
        on_peer: false,
        names: Vec::new(),
    };
    for word in words {
        match *word {
            "--host" => options.in_qemu = false,
            "--qemu" => options.on_host = false,
            "--peer" => (options.on_host, options.on_peer) = (false, true),
            name if name.starts_with('-') => {
                return Err(format!(
                    "test has no option {name:?}; there are --host, --qemu and --peer."
                ));
            }
            name => options.names.push(name.to_owned()),
        }
    }
    if !options.on_host && !options.in_qemu {
        return Err(
            "--host excludes --qemu and --peer: together they leave nothing to run.".into(),
        );
    }
    // Who names a QEMU test wants that one.
    options.on_host &= options.names.is_empty();
    Ok(options)
}

fn number(name: &str, text: &str, least: u32, most: u32) -> Result<u32, String> {
    let parsed = text
        .parse()
        .ok()
        .filter(|value| (least..=most).contains(value));
    parsed.ok_or_else(|| format!("{name} takes a number from {least} to {most}, not {text:?}."))
}

fn accelerator(text: &str) -> Result<bool, String> {
    match text {
        "tcg" => Ok(false),
        "kvm" => Ok(true),
        _ => Err(format!("--accel takes tcg or kvm, not {text:?}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Verb, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn run_takes_its_options_in_both_spellings() {
        let expected = RunOptions {
            headless: true,
            cpus: 4,
            memory_mib: 512,
            kvm: true,
            disks: vec!["a".into(), "b".into()],
            append: "verbose".into(),
            gdb: true,
            peer: false,
        };
        let line = "run --headless --cpus=4 --mem 512 --accel kvm --disk a --disk=b --append verbose --gdb";
        assert_eq!(parsed(line), Ok(Verb::Run(expected)));
        assert_eq!(parsed("run"), Ok(Verb::Run(RunOptions::default())));
    }

    #[test]
    fn refusals_name_the_value_and_what_is_allowed() {
        for (line, parts) in [
            ("run --cpus 65", ["--cpus", "1 to 64"]),
            ("run --cpus many", ["\"many\"", "1 to 64"]),
            ("run --mem", ["--mem", "MiB"]),
            ("run --accel xen", ["xen", "tcg or kvm"]),
            ("run --fast", ["run", "--fast"]),
            ("bench --fast", ["--fast", "--alone"]),
            ("bench --profile", ["--profile", "figure"]),
            ("test --fast", ["--fast", "--host, --qemu and --peer"]),
            ("walk", ["walk", "run, test"]),
            ("build now", ["build", "now"]),
        ] {
            let sentence = parsed(line).unwrap_err();
            assert!(
                parts.iter().all(|part| sentence.contains(part)),
                "{line}: {sentence}"
            );
        }
    }

    #[test]
    fn naming_a_test_leaves_the_host_tests_out() {
        let Ok(Verb::Test(options)) = parsed("test shell fault") else {
            panic!("no test verb")
        };
        assert!(!options.on_host && options.in_qemu);
        assert_eq!(options.names, ["shell", "fault"]);
        let Ok(Verb::Test(options)) = parsed("test --host") else {
            panic!("no test verb")
        };
        assert!(options.on_host && !options.in_qemu);
    }

    #[test]
    fn nothing_typed_is_a_call_for_help() {
        assert_eq!(parsed(""), Ok(Verb::Help));
    }
}
