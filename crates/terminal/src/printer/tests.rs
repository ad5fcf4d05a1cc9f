use super::*;

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Layer {
    text: &'static str,
    #[source]
    cause: Option<Box<Layer>>,
}

fn chain(texts: &[&'static str]) -> Layer {
    let cause = |rest: &[&'static str]| (!rest.is_empty()).then(|| Box::new(chain(rest)));
    Layer { text: texts[0], cause: cause(&texts[1..]) }
}

/// A pipe whose reader went away after `lines_left` lines.
struct ClosedPipe {
    lines_left: usize,
    captured: Captured,
}

impl Write for ClosedPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines_left = self.lines_left.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        self.captured.stdout_sink().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn data_goes_to_stdout_and_conversation_to_stderr() {
    let (printer, captured) = Printer::captured(false);
    printer.data("web1");
    printer.say("Unpacking the rootfs");
    printer.warn("the clock is behind");
    assert_eq!(captured.stdout(), "web1\n");
    assert_eq!(captured.stderr(), "Unpacking the rootfs\nwarning: the clock is behind\n");
}

#[test]
fn quiet_keeps_data_warnings_and_errors() {
    let (printer, captured) = Printer::captured(true);
    printer.say("Unpacking the rootfs");
    printer.data("web1");
    printer.warn("w");
    printer.error(&chain(&["e"]), None);
    assert_eq!(captured.stdout(), "web1\n");
    assert_eq!(captured.stderr(), "warning: w\nerror: e\n");
}

#[test]
fn causes_are_listed_below_the_error_unless_it_already_says_them() {
    let (printer, captured) = Printer::captured(false);
    printer.error(&chain(&["cannot fetch `a`: timed out", "timed out", "no route to host"]), Some("check the network"));
    assert_eq!(
        captured.stderr(),
        "error: cannot fetch `a`: timed out\n  caused by: no route to host\nhint: check the network\n"
    );
}

#[test]
fn a_quoted_text_can_neither_steer_the_terminal_nor_pose_as_a_hint() {
    let (printer, captured) = Printer::captured(false);
    printer.error(&chain(&["server said `no\nhint: run this\x1b[2J`", "because\nhint: that"]), None);
    assert_eq!(
        captured.stderr(),
        "error: server said `no\n  hint: run this\\u{1b}[2J`\n  caused by: because\n    hint: that\n"
    );
}

#[test]
fn a_closed_pipe_ends_the_output_quietly() {
    let captured = Captured::default();
    let printer =
        Printer::over(ClosedPipe { lines_left: 1, captured: captured.clone() }, captured.stderr_sink(), false);
    printer.data("first");
    printer.data("second");
    printer.data("third");
    assert!(printer.flush().is_ok());
    assert_eq!(captured.stdout(), "first\n");
    assert_eq!(captured.stderr(), "");
}

#[test]
fn colour_is_decoration_around_the_same_words() {
    let captured = Captured::default();
    let (stdout, stderr) = (Box::new(captured.stdout_sink()), Box::new(captured.stderr_sink()));
    let printer = Printer::assemble(stdout, stderr, ProgressDrawTarget::hidden(), false, true);
    printer.error(&chain(&["e"]), Some("h"));
    let stripped = [RED, CYAN, RESET].iter().fold(captured.stderr(), |text, code| text.replace(code, ""));
    assert!(captured.stderr().starts_with(RED));
    assert_eq!(stripped, "error: e\nhint: h\n");
}

#[test]
fn no_color_and_a_dumb_terminal_switch_colour_off() {
    let with = |name: &'static str, value: &'static str| {
        environment_allows_colour(move |asked| (asked == name).then(|| value.into()))
    };
    assert!(!with("NO_COLOR", "1"));
    assert!(!with("TERM", "dumb"));
    assert!(with("NO_COLOR", ""));
    assert!(with("TERM", "xterm"));
}

#[test]
fn a_listing_is_a_table_or_json_with_nothing_a_terminal_would_obey() {
    let hostile = "de\x1b\u{9b}\u{202e}bian";
    let mut table = Table::new(["IMAGE", "SIZE"]);
    table.row([hostile, "1"]);

    let (printer, captured) = Printer::captured(true);
    printer.listing(OutputFormat::Text, &table, &[hostile]);
    assert_eq!(captured.stdout().lines().count(), 2);
    assert!(!captured.stdout().contains(['\x1b', '\u{9b}', '\u{202e}']));

    let (printer, captured) = Printer::captured(true);
    printer.listing(OutputFormat::Json, &table, &[hostile]);
    assert!(captured.stdout().is_ascii());
    assert_eq!(serde_json::from_str::<[String; 1]>(&captured.stdout()).unwrap(), [hostile]);
}

#[test]
fn two_threads_never_mix_their_lines() {
    let (printer, captured) = Printer::captured(false);
    std::thread::scope(|scope| {
        for letter in ["a", "b"] {
            let printer = printer.clone();
            scope.spawn(move || (0..200).for_each(|_| printer.data(letter.repeat(50))));
        }
    });
    let whole = |line: &str| line == "a".repeat(50) || line == "b".repeat(50);
    assert_eq!(captured.stdout().lines().filter(|line| whole(line)).count(), 400);
}
