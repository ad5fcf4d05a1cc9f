//! A base, a clone of it with a web server, and a website that is a clone of the clone, each over its parent by an
//! overlay: what the clones do not change is there once.
//!
//!     website IMAGE BASE WEB SITE
//!
//! The containers are where `rootcellar` has them, and `create` finds the image as it does. Run again it makes only the
//! website anew, from what is there.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rootcellar::directories::{Directories, DirectoryArgs};
use rootcellar::runtime::{
    self, Container, CopyOptions, CreateOptions, End, ExecOptions, Family, StartOptions, StopOptions,
};

fn main() -> ExitCode {
    // The steps of the runtime are processes of this same program.
    if let Some(code) = runtime::step() {
        return code;
    }
    match website() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn website() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, base, web, site] = &arguments[..] else { return Err("expected IMAGE BASE WEB SITE".into()) };
    let containers = Directories::choose(DirectoryArgs::default().or_environment()).containers;

    let base = if let Some(base) = open(&containers, base)? {
        base
    } else {
        let base = Container::create(&containers, &base.parse()?, image, CreateOptions::default())?;
        customize(&base, &["touch", "/etc/updated"])?;
        base
    };
    let web = if let Some(web) = open(&containers, web)? {
        web
    } else {
        let web = base.copy(&web.parse()?, &CopyOptions { snapshot: true })?.container;
        customize(&web, &["sh", "-c", "mkdir -p /srv/www && echo 'It works' > /srv/www/index.html"])?;
        web
    };

    let site = web.copy(&site.parse()?, &CopyOptions { snapshot: true })?.container;
    site.start(&StartOptions::default())?;
    run(&site, &["sh", "-c", "busybox httpd -h /srv/www"])?;
    match site.ips(Some(Family::V4), Duration::from_secs(30)).first() {
        Some(address) => writeln!(std::io::stdout(), "Website running at: http://{address}")?,
        None => halt(&site)?,
    }
    Ok(())
}

fn open(containers: &Path, name: &str) -> Result<Option<Container>, Box<dyn Error>> {
    let name = name.parse()?;
    Ok(if Container::exists(containers, &name) { Some(Container::open(containers, &name)?) } else { None })
}

/// Starts a container, changes something in it, and stops it.
fn customize(container: &Container, command: &[&str]) -> Result<(), Box<dyn Error>> {
    container.start(&StartOptions::default())?;
    container.ips(None, Duration::from_secs(30));
    run(container, command)?;
    halt(container)
}

fn run(container: &Container, command: &[&str]) -> Result<(), Box<dyn Error>> {
    match container.exec(&ExecOptions::new(command.iter().copied()))? {
        End::Exited(0) => Ok(()),
        end => Err(format!("`{}` in `{}` {end}", command.join(" "), container.name()).into()),
    }
}

fn halt(container: &Container) -> Result<(), Box<dyn Error>> {
    if !container.shutdown(Duration::from_secs(30))? {
        container.stop(&StopOptions { kill: true, ..StopOptions::default() })?;
    }
    Ok(())
}
