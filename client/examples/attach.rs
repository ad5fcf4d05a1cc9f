//! A function of this program runs here, and then in a container: `attach NAME`.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::process::ExitCode;

use rootcellar::directories::{Directories, DirectoryArgs};
use rootcellar::runtime::{self, Container, End, StartOptions};

fn main() -> ExitCode {
    if let Some(code) = runtime::step() {
        return code;
    }
    match attach() {
        Ok(code) => code.into(),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn attach() -> Result<u8, Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("expected the NAME of a container")?;
    let containers = Directories::choose(DirectoryArgs::default().or_environment()).containers;
    let container = Container::open(&containers, &name.parse()?)?;
    if !container.is_running() {
        container.start(&StartOptions::default())?;
    }
    print_hostname();
    Ok(container.attach(print_hostname).map(End::code)?)
}

fn print_hostname() -> u8 {
    let print = || writeln!(std::io::stdout(), "Hostname: {}", fs::read_to_string("/etc/hostname")?.trim());
    u8::from(print().is_err())
}
