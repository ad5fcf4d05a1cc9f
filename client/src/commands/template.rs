//! `rootcellar template`

use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use terminal::{Advice, ExitStatus};

use super::CommandError;
use crate::context::Context;

/// Let `lxc-create -t download` use this program.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,

    /// Where LXC has its templates.
    #[arg(long, value_name = "DIR", global = true, default_value = STANDARD)]
    templates: PathBuf,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Take the place of the stock template, which is kept as `lxc-download.stock`.
    Install {
        /// Leave the stock template in its place: `lxc-create -t rootcellar` uses this program.
        #[arg(long)]
        beside: bool,
    },
    /// Undo `install`.
    Uninstall,
}

/// Installs or uninstalls.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    let program = std::env::current_exe().and_then(fs::canonicalize).map_err(TemplateInstallError::Storage)?;
    let place = Place { templates: &args.templates, program: &program };
    let done = match args.action {
        Action::Install { beside } => place.install(beside)?,
        Action::Uninstall => place.uninstall()?,
    };
    context.printer.say(done);
    Ok(ExitStatus::Done)
}

struct Place<'a> {
    templates: &'a Path,
    program: &'a Path,
}

impl Place<'_> {
    fn install(&self, beside: bool) -> Result<String, TemplateInstallError> {
        self.check_reach()?;
        let link = self.templates.join(if beside { BESIDE } else { OVER });
        if self.is_ours(&link) {
            return Ok(format!("`{}` already is this program", link.display()));
        }
        if self.is_packaged() {
            // Perhaps LXC is installed later.
            fs::create_dir_all(self.templates).map_err(TemplateInstallError::Storage)?;
        }
        if !beside {
            self.put_aside(&link)?;
        }
        symlink(self.program, &link).map_err(TemplateInstallError::Storage)?;
        Ok(format!("`{}` now is this program", link.display()))
    }

    fn uninstall(&self) -> Result<String, TemplateInstallError> {
        let links = [BESIDE, OVER].map(|name| self.templates.join(name));
        let ours: Vec<_> = links.into_iter().filter(|link| self.is_ours(link)).collect();
        if ours.is_empty() {
            return Err(TemplateInstallError::NotInstalled { templates: self.templates.to_owned() });
        }
        for link in &ours {
            fs::remove_file(link).map_err(TemplateInstallError::Storage)?;
            if link.ends_with(OVER) {
                self.put_back(link)?;
            }
        }
        Ok("LXC uses its own template again".to_owned())
    }

    /// A mapped root runs the program, and is nobody in particular to the host: everybody must be able to.
    fn check_reach(&self) -> Result<(), TemplateInstallError> {
        for part in self.program.ancestors() {
            let mode = fs::metadata(part).map_err(TemplateInstallError::Storage)?.permissions().mode();
            if mode & 0o001 == 0 {
                return Err(TemplateInstallError::Unreachable { part: part.to_owned() });
            }
        }
        Ok(())
    }

    fn is_ours(&self, link: &Path) -> bool {
        fs::read_link(link).is_ok_and(|target| target == self.program)
    }

    fn stock(&self) -> PathBuf {
        self.templates.join(STOCK)
    }

    /// Where Debian's package manager is, it is told, whether there is a stock template yet or not: when LXC is installed or
    /// upgraded, our link is left alone.
    fn put_aside(&self, link: &Path) -> Result<(), TemplateInstallError> {
        if self.is_packaged() {
            return divert(&["--add", "--divert", &self.stock().to_string_lossy(), &link.to_string_lossy()]);
        }
        if link.symlink_metadata().is_err() {
            return Ok(());
        }
        fs::rename(link, self.stock()).map_err(TemplateInstallError::Storage)
    }

    fn put_back(&self, link: &Path) -> Result<(), TemplateInstallError> {
        if self.is_packaged() {
            return divert(&["--remove", "--divert", &self.stock().to_string_lossy(), &link.to_string_lossy()]);
        }
        if self.stock().symlink_metadata().is_err() {
            return Ok(());
        }
        fs::rename(self.stock(), link).map_err(TemplateInstallError::Storage)
    }

    fn is_packaged(&self) -> bool {
        self.templates == Path::new(STANDARD) && Path::new(DIVERT).exists()
    }
}

fn divert(arguments: &[&str]) -> Result<(), TemplateInstallError> {
    let output = Command::new(DIVERT).args(["--local", "--rename", "--quiet"]).args(arguments).output();
    let output = output.map_err(TemplateInstallError::Storage)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(TemplateInstallError::Divert { said })
}

/// Why the template was not installed or uninstalled.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named in the messages")]
pub enum TemplateInstallError {
    #[error("cannot change LXC's templates")]
    Storage(#[source] io::Error),
    #[error("not everybody may run this program: `{}` keeps others out", part.display())]
    Unreachable { part: PathBuf },
    #[error("no template in `{}` is this program", templates.display())]
    NotInstalled { templates: PathBuf },
    #[error("`dpkg-divert` failed: {said}")]
    Divert { said: String },
}

impl Advice for TemplateInstallError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { .. } => Some("install it as /usr/local/bin/rootcellar and run that".to_owned()),
            Self::Storage(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("run it as root".to_owned())
            }
            Self::Storage(_) | Self::NotInstalled { .. } | Self::Divert { .. } => None,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Unreachable { .. } | Self::NotInstalled { .. } => ExitStatus::Refused,
            Self::Storage(_) | Self::Divert { .. } => ExitStatus::Failed,
        }
    }
}

const STANDARD: &str = "/usr/share/lxc/templates";
const DIVERT: &str = "/usr/bin/dpkg-divert";
const OVER: &str = "lxc-download";
const STOCK: &str = "lxc-download.stock";
const BESIDE: &str = "lxc-rootcellar";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stock_template_comes_back_when_ours_goes() {
        let templates = tempfile::tempdir().unwrap();
        std::fs::write(templates.path().join(OVER), "stock").unwrap();
        let place = Place { templates: templates.path(), program: Path::new("/bin/sh") };
        place.install(false).unwrap();
        place.install(false).unwrap();
        assert_eq!(std::fs::read_link(templates.path().join(OVER)).unwrap(), Path::new("/bin/sh"));
        place.uninstall().unwrap();
        assert_eq!(std::fs::read_to_string(templates.path().join(OVER)).unwrap(), "stock");
        assert!(matches!(place.uninstall(), Err(TemplateInstallError::NotInstalled { .. })));
    }

    #[test]
    fn beside_the_stock_template_nothing_of_it_changes() {
        let templates = tempfile::tempdir().unwrap();
        std::fs::write(templates.path().join(OVER), "stock").unwrap();
        let place = Place { templates: templates.path(), program: Path::new("/bin/sh") };
        place.install(true).unwrap();
        assert!(templates.path().join(BESIDE).exists());
        assert_eq!(std::fs::read_to_string(templates.path().join(OVER)).unwrap(), "stock");
        place.uninstall().unwrap();
        assert_eq!(std::fs::read_dir(templates.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_program_that_others_cannot_reach_is_not_installed() {
        let (templates, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let program = home.path().join("rootcellar");
        std::fs::write(&program, "").unwrap();
        let place = Place { templates: templates.path(), program: &program };
        assert!(matches!(place.install(true), Err(TemplateInstallError::Unreachable { .. })));
    }
}
