//! Which interfaces there are, asked of the kernel.

use anyhow::Result;
use lab::{Netns, needs};

#[test]
fn links_are_those_of_the_namespace_and_not_those_of_a_sys_of_another_one() -> Result<()> {
    needs!(root, "ip");
    let namespace = Netns::new("links")?;
    namespace.ip(&["link", "add", "only-here", "type", "veth", "peer", "name", "other-end"])?;
    // As with `nsenter --net` alone: /sys stays that of the machine.
    let (links, in_sys) = namespace.run(|| (dataplane::links(), std::fs::exists("/sys/class/net/only-here")));
    let mut names: Vec<String> = links?.into_iter().map(|link| link.name).collect();
    names.sort();
    assert_eq!(names, ["lo", "only-here", "other-end"]);
    assert!(!in_sys?);
    Ok(())
}
