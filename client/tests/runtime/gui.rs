//! A program with a window lives in a plain user's container and shows itself on the user's own display: sockets and
//! devices by mount entries, one user of the container being the user of the desktop, a hook that prepares the sound.
//! The display and the sound server are stand-ins that listen where the real ones would.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::inits;
use crate::user::User;

/// Listens on a socket as a display would, and says what it is to everybody who may come.
struct Display {
    server: Child,
}

impl Display {
    fn open(user: &User) -> Self {
        let script =
            format!("umask 077; mkdir -p .X11-unix; exec {}", listen(&user.home.join(".X11-unix/X0"), "display :0"));
        let words = user.words(&script);
        let mut server = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { server }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // runuser passes it on.
        let _ = kill_process(Pid::from_child(&self.server), Signal::TERM);
        let _ = self.server.wait();
    }
}

/// The sound server that the hook of the container starts.
struct Sound {
    /// Where its pid is written.
    pid: PathBuf,
}

impl Drop for Sound {
    fn drop(&mut self) {
        let pid = fs::read_to_string(&self.pid).ok().and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?));
        if let Some(pid) = pid {
            // It has no signal blocked, whoever started it.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// A program that answers every connection to a socket with a line.
fn listen(socket: &Path, line: &str) -> String {
    format!(
        "perl -MIO::Socket::UNIX -e \"\\$| = 1; my \\$s = IO::Socket::UNIX->new(Local => \\\"{0}\\\", Listen => 5) or die; \
         print \\\"ready\\n\\\"; while (my \\$c = \\$s->accept) {{ print \\$c \\\"{line}\\n\\\"; close \\$c }}\"",
        socket.display()
    )
}

/// A program that says what it hears at a socket.
fn ask(socket: &str) -> String {
    format!(
        "perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(Peer => \"{socket}\") or die \"$!\"; print $s->getline, getpwuid($<).\"\\n\"'"
    )
}

#[test]
fn a_program_in_a_container_is_on_the_users_display_and_hears_its_sound() {
    let Some(user) = User::or_skip("gui") else { return };
    let Some(tree) = inits::tree("sysvinit", "sysvinit-core,sysv-rc,initscripts") else { return };
    let display = Display::open(&user);
    let sound = Sound { pid: user.home.join("pulse.pid") };
    let (first, uid, gid) = (user.first, user.uid, user.gid);
    let container = user.containers().join("precise-gui");
    let lines = format!(
        "lxc.net.0.type = empty\n\
         lxc.mount.entry = /dev/dri dev/dri none bind,optional,create=dir\n\
         lxc.mount.entry = /dev/snd dev/snd none bind,optional,create=dir\n\
         lxc.mount.entry = {home}/.X11-unix tmp/.X11-unix none bind,optional,create=dir\n\
         lxc.mount.entry = /dev/video0 dev/video0 none bind,optional,create=file\n\
         lxc.mount.entry = /dev/null dev/card none bind,optional,create=file\n\
         lxc.hook.pre-start = {container}/setup-pulse.sh\n\
         lxc.id_map = u 0 {first} 1000\nlxc.id_map = g 0 {first} 1000\n\
         lxc.id_map = u 1000 {uid} 1\nlxc.id_map = g 1000 {gid} 1\n\
         lxc.id_map = u 1001 {after} 64535\nlxc.id_map = g 1001 {after} 64535\n",
        home = user.home.display(),
        container = container.display(),
        after = first + 1001,
    );
    let fill = |rootfs: &Path| {
        inits::unpack(&tree, rootfs);
        let add = |file: &str, line: &str| {
            let text = fs::read_to_string(rootfs.join(file)).unwrap();
            fs::write(rootfs.join(file), text + line).unwrap();
        };
        add("etc/passwd", "ubuntu:x:1000:1000::/home/ubuntu:/bin/sh\n");
        add("etc/group", "ubuntu:x:1000:\n");
        fs::create_dir_all(rootfs.join("home/ubuntu")).unwrap();
        std::os::unix::fs::chown(rootfs.join("home/ubuntu"), Some(1000), Some(1000)).unwrap();
    };
    // The ids of users and groups are the same but for the one.
    user.container("precise-gui", fill, |id| if id == 1000 { uid } else { first + id }, &lines);

    let pulse = listen(Path::new("$PULSE_PATH"), "sound");
    let setup = format!(
        "#!/bin/sh\nPULSE_PATH=$LXC_ROOTFS_PATH/home/ubuntu/.pulse_socket\n\
         if [ ! -e \"$PULSE_PATH\" ]; then\n{pulse} </dev/null >/dev/null 2>&1 &\necho $! > $HOME/pulse.pid\n\
         until [ -e \"$PULSE_PATH\" ]; do sleep 0.1; done\nfi\n"
    );
    let launcher = "#!/bin/sh\nSTARTED=false\n\
                    if ! rootcellar wait precise-gui -s RUNNING -t 0; then\n\
                    rootcellar start precise-gui || exit 1\nrootcellar wait precise-gui -s RUNNING -t 60\nSTARTED=true\nfi\n\
                    rootcellar exec --clear-env -u ubuntu -e DISPLAY=$DISPLAY -e PULSE_SERVER=/home/ubuntu/.pulse_socket \
                    precise-gui -- /bin/sh -c \"$1\"\n\
                    CODE=$?\n\
                    if [ $STARTED = true ]; then rootcellar stop precise-gui -t 60; fi\nexit $CODE\n";
    for (name, script) in [("setup-pulse.sh", setup.as_str()), ("start-program", launcher)] {
        let path = container.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    // The user's own words: set up, then use. A second program shares the container of the first.
    let started = user.sh("rootcellar start precise-gui");
    assert!(!started.stderr.contains("mount") && !started.stderr.contains("hook"), "{started:?}");
    started.succeeds();
    user.sh("rootcellar exec precise-gui -- test ! -e /dev/video0").succeeds();
    user.sh("rootcellar exec -u ubuntu precise-gui -- sh -c 'echo x > /dev/card'").succeeds();
    user.sh("rootcellar exec precise-gui -- umount /tmp/.X11-unix").succeeds();
    user.sh("rootcellar stop precise-gui -t 60").succeeds();
    let program = format!("{}; {}; echo $DISPLAY", ask("/tmp/.X11-unix/X0"), ask("/home/ubuntu/.pulse_socket"));
    fs::write(user.home.join("program"), &program).unwrap();
    let launch = "DISPLAY=:0 .local/share/lxc/precise-gui/start-program \"$(cat program)\"";
    let launch = format!("export PATH; {launch}");
    let shown = user.sh(&launch);
    assert_eq!(shown.stdout, "display :0\nubuntu\nsound\nubuntu\n:0\n", "{shown:?}");
    assert_eq!(user.listed("precise-gui")["state"], "stopped", "who started it stops it: {shown:?}");
    // Another user of the container is nobody to the display.
    user.sh("rootcellar start precise-gui").succeeds();
    fs::write(user.home.join("program"), ask("/tmp/.X11-unix/X0")).unwrap();
    let refused = user.sh("rootcellar exec -u 33 precise-gui -- sh -c \"$(cat program)\"");
    assert!(refused.stderr.contains("Permission denied"), "{refused:?}");
    user.sh("rootcellar stop precise-gui -t 60").succeeds();
    drop((display, sound));
}
