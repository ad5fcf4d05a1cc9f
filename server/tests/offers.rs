//! An image is offered to those templates whose LXC can load its configuration, and to no other.

use testkit::FakeImage;

use crate::support::World;

const COMMON: &str = "lxc.include = LXC_TEMPLATE_CONFIG/common.conf\n";
const USER: &str = "lxc.include = LXC_TEMPLATE_CONFIG/common.conf\nlxc.include = LXC_TEMPLATE_CONFIG/userns.conf\n";

fn image(id: &str, config: &str, user: &str) -> FakeImage {
    let image = FakeImage::new(id).without_member("config.1").without_member("config-user.1");
    image.member("config", config).member("config-user", user)
}

#[test]
fn an_index_lists_an_image_only_for_levels_that_load_its_configuration() {
    let distribution = |name: &str| format!("lxc.include = LXC_TEMPLATE_CONFIG/{name}.common.conf\n");
    let world = World::publishing(&[
        // LXC 1.0 ships files of Debian's only, LXC 1.1 to 2.1 both, and since LXC 3.0 there are common ones only.
        FakeImage::new("alpine/every-level/amd64/default"),
        image("alpine/common-only/amd64/default", COMMON, USER),
        image("alpine/legacy-files/amd64/default", &distribution("debian"), &distribution("debian")),
        image("alpine/legacy-keys/amd64/default", "lxc.utsname = LXC_NAME\n", "lxc.utsname = LXC_NAME\n"),
        image("alpine/new-keys/amd64/default", "lxc.uts.name = LXC_NAME\n", "lxc.uts.name = LXC_NAME\n"),
        image("alpine/no-such-file/amd64/default", &distribution("plan9"), &distribution("plan9")),
        // Before LXC 1.1 nothing prepared what systemd needs in a user namespace.
        FakeImage::new("debian/systemd/amd64/default"),
    ]);
    let server = world.serve();
    let levels = |mode: &str, release: &str| -> String {
        let lists = |level: &u8| {
            let index = server.get(&format!("//meta/1.0/index-{mode}.{level}"));
            assert_eq!(index.status, 200);
            index.text().contains(&format!(";{release};"))
        };
        (1..=7).filter(lists).map(|level| level.to_string()).collect()
    };
    for (release, system, user) in [
        ("every-level", "1234567", "1234567"),
        ("common-only", "234567", "234567"),
        ("legacy-files", "1234", "1234"),
        ("legacy-keys", "1234", "1234"),
        ("new-keys", "4567", "4567"),
        ("no-such-file", "", ""),
        ("systemd", "1234567", "234567"),
    ] {
        assert_eq!((levels("system", release).as_str(), levels("user", release).as_str()), (system, user), "{release}");
    }
    for mode in ["system", "user"] {
        let path = format!("/meta/1.0/index-{mode}");
        assert_eq!(
            server.get(&path).body,
            server.get(&format!("{path}.7")).body,
            "the one without a suffix is the newest"
        );
    }
}
