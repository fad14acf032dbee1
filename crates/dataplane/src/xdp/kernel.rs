//! The XDP back end: the program and its tables in the kernel, attached to interfaces, kept when
//! the daemon ends.

use super::classifier::{Classifier, Unenforceable};
use super::condition::{EnforcedState, condition};
use super::layout::{CounterLine, IdLine};
use super::links::{Links, io_error};
use super::memory::Table;
use super::program::{self, Program, Sizes};
use super::redirects::{Ingress, Redirects};
use super::routes::Routes;
use super::samples::Samples;
use super::{Attach, Options, neighbours, sys};
use crate::kernel::DesiredState;
use crate::{
    Applied, BackendSettings, Condition, Counter, Dataplane, DataplaneError, EnforcementPoint, Health, NoSamples,
    SampleSource, Usage, patterns_match,
};
use engine::capability::Capabilities;
use engine::plan::{CompiledRule, Plan, Ruleset};
use flowspec::{Nlri, RuleId};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

#[cfg(xdp_program)]
static OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/floodgate.o")));
#[cfg(not(xdp_program))]
static OBJECT: Option<&[u8]> = None;

/// Maps that the next run of the daemon reads: the numbers of rules, and their counters.
const PINNED_MAPS: [&str; 2] = ["ids", "counters"];
/// The map of sampled packets, for readers with permission.
const SAMPLES: &str = "samples";

impl BackendSettings for Options {
    fn open(&self) -> Result<Box<dyn Dataplane>, DataplaneError> {
        Ok(Box::new(Xdp::open(self.clone())?))
    }

    fn enforcement_point(&self) -> EnforcementPoint {
        EnforcementPoint::Path(self.directory.clone())
    }
}

/// The XDP back end. While something is active, packets of the attached interfaces see exactly what
/// its classifier has, or what `lost` says.
#[derive(Debug)]
pub struct Xdp {
    options: Options,
    active: Option<Active>,
    samples: Samples,
    /// Why nothing could be put in force yet.
    trouble: Option<String>,
}

#[derive(Debug)]
struct Active {
    program: Program,
    id: u32,
    classifier: Classifier,
    links: Links,
    redirects: Redirects,
    /// The set of rules that can redirect has changed, which was not reported yet.
    unsettled: bool,
    /// The tables could neither be changed nor rebuilt: the rules that packets still see.
    lost: Option<DesiredState>,
}

impl Xdp {
    /// A back end with these settings. Nothing is loaded or attached before the first
    /// [`Dataplane::replace`]; filters of an earlier run stay in force until then.
    ///
    /// # Errors
    /// This build has no XDP program, no interfaces are named, or there is no BPF file system and
    /// none can be mounted.
    pub fn open(options: Options) -> Result<Self, DataplaneError> {
        object()?;
        if options.interfaces.is_empty() {
            return Err(DataplaneError::InvalidSetting(
                "XDP wants to know where to filter: name the interfaces, as in interfaces = [\"eth*\"]".into(),
            ));
        }
        prepare(&options.directory)?;
        Ok(Xdp { options, active: None, samples: Samples::default(), trouble: None })
    }

    fn current_condition(&self) -> Condition {
        let in_force = match &self.active {
            Some(Active { classifier, links, redirects, .. }) => Ok(EnforcedState { classifier, links, redirects }),
            None => Err(self.trouble.as_deref().unwrap_or("nothing was applied yet")),
        };
        condition(self.interfaces().unwrap_or_default(), &self.options.interfaces, in_force)
    }

    /// The interfaces that the patterns match now.
    fn interfaces(&self) -> Result<Vec<(u32, String)>, DataplaneError> {
        matched_interfaces(&self.options)
    }

    /// Loads a new program with these rules and replaces the old one, on one interface after the
    /// other.
    fn load(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        let outcome = self.rebuild(rules);
        self.trouble = outcome.as_ref().err().map(ToString::to_string);
        outcome
    }

    fn rebuild(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        prepare(&self.options.directory)?;
        let interfaces = self.interfaces()?;
        let sizes = Sizes::for_rules(self.options.capacity);
        let (mut program, tables) = program::load(object()?, &["floodgate"], sizes, &[Routes::size()])?;
        let mut redirects = Redirects::load(&mut program.ebpf)?;
        redirects.replace(&rules.rules);
        let (mut links, before) = match self.active.take() {
            Some(Active { id, program, classifier, links, redirects, lost, .. }) => {
                (links, Some((id, program, classifier, redirects, lost)))
            }
            None => (Links::adopt(&self.options.directory)?, None),
        };
        let mut classifier = Classifier::new(tables);
        let mut fill = || -> Result<(), DataplaneError> {
            redirects.probe(&mut program.ebpf, &ingress(&links, &interfaces, self.options.attach))?;
            let (allowed, unenforceable) = partition_enforceable(&redirects, &rules.rules);
            let applied = classifier.apply(allowed, unenforceable, [], Some(&rules.protected));
            applied.map_err(|lost| DataplaneError::Refused(lost.why.to_string()))?;
            links.install(program.fd()?, &interfaces, self.options.attach)?;
            // Some drivers can send redirected packets only now that they have a program
            // themselves.
            if redirects.probe(&mut program.ebpf, &ingress(&links, &interfaces, self.options.attach))? {
                let (allowed, unenforceable) = partition_enforceable(&redirects, &rules.rules);
                classifier
                    .apply(allowed, unenforceable, [], None)
                    .map_err(|lost| DataplaneError::Refused(lost.why.to_string()))?;
            }
            Ok(())
        };
        if let Err(error) = fill() {
            if let Some((id, program, classifier, redirects, lost)) = before {
                self.active = Some(Active { program, id, classifier, links, redirects, unsettled: true, lost });
            }
            return Err(error);
        }
        // Read after the last packet was counted there, so that no count is lost.
        let counted = match &before {
            Some((_, _, classifier, ..)) => classifier.counted(),
            None => self.left_counters(),
        };
        classifier.inherit(counted);
        let id = program.id()?;
        self.samples.exchange(&program.ebpf, classifier.tables())?;
        self.pin(&program)?;
        let active =
            self.active.insert(Active { program, id, classifier, links, redirects, unsettled: false, lost: None });
        Ok(active.applied())
    }

    /// Counters of an earlier run; none if its tables have another layout.
    fn left_counters(&self) -> HashMap<u64, CounterLine> {
        let read = || -> Option<HashMap<u64, CounterLine>> {
            let [ids, counters] = PINNED_MAPS.map(|name| sys::pinned(&self.options.directory.join(name)).ok());
            let (ids, counters) = (ids?, counters?);
            let (id_size, numbers) = sys::map_info(ids.as_fd()).ok()?;
            let (counter_size, lines) = sys::map_info(counters.as_fd()).ok()?;
            let is_ours = id_size as usize == size_of::<IdLine>()
                && counter_size as usize == size_of::<CounterLine>()
                && numbers > 0
                && lines.is_multiple_of(numbers);
            if !is_ours {
                return None;
            }
            let ids = Table::map(ids.as_fd(), numbers as usize, "ids").ok()?;
            let counters = Table::map(counters.as_fd(), lines as usize, "counters").ok()?;
            Some(super::counters::of_tables(&ids, &counters))
        };
        read().unwrap_or_default()
    }

    /// Pins the maps, replacing those of the previous program.
    fn pin(&self, program: &Program) -> Result<(), DataplaneError> {
        for name in pinned_maps() {
            let _ = std::fs::remove_file(self.options.directory.join(name));
        }
        pin_missing(program, &self.options.directory)
    }
}

/// The maps that are pinned in the BPF file system.
fn pinned_maps() -> impl Iterator<Item = &'static str> {
    PINNED_MAPS.into_iter().chain([SAMPLES])
}

/// Pins maps that are not pinned.
fn pin_missing(program: &Program, directory: &Path) -> Result<(), DataplaneError> {
    for name in pinned_maps() {
        let path = directory.join(name);
        if !path.exists() {
            let fd = program::map_fd(&program.ebpf, name)?;
            sys::pin(fd, &path).map_err(|source| io_error("pin", &path, source))?;
        }
    }
    Ok(())
}

impl Active {
    /// What is in force.
    fn applied(&self) -> Applied {
        self.classifier.applied()
    }
}

/// The interfaces where packets are or will be filtered.
fn ingress(links: &Links, interfaces: &[(u32, String)], attach: Attach) -> Vec<Ingress> {
    let mode = |interface| {
        links.is_native(interface).or(match attach {
            Attach::Native => Some(true),
            Attach::Generic => Some(false),
            Attach::Best => None,
        })
    };
    let filtered = interfaces.iter().filter(|(interface, _)| !links.is_refused(*interface));
    filtered.map(|(interface, _)| (*interface, mode(*interface))).collect()
}

/// The rules that can be in force, and those that cannot, with the reason.
fn partition_enforceable<'a>(
    redirects: &Redirects,
    rules: &'a [Arc<CompiledRule>],
) -> (Vec<&'a Arc<CompiledRule>>, Vec<Unenforceable<'a>>) {
    let (mut allowed, mut unenforceable) = (Vec::with_capacity(rules.len()), Vec::new());
    for rule in rules {
        match redirects.refuses(rule) {
            None => allowed.push(rule),
            Some(failure) => unenforceable.push((rule, failure)),
        }
    }
    (allowed, unenforceable)
}

impl Program {
    fn fd(&self) -> Result<BorrowedFd<'_>, DataplaneError> {
        program::program_fd(&self.ebpf, "floodgate")
    }

    fn id(&self) -> Result<u32, DataplaneError> {
        sys::program_id(self.fd()?)
            .map_err(|source| DataplaneError::Io { context: "ask for the XDP program's id".into(), source })
    }
}

impl Dataplane for Xdp {
    fn name(&self) -> &'static str {
        "xdp"
    }

    fn capabilities(&self) -> Capabilities {
        super::capabilities()
    }

    fn leftovers(&mut self) -> Result<BTreeSet<RuleId>, DataplaneError> {
        let Some(path) = Some(self.options.directory.join("ids")).filter(|path| self.active.is_none() && path.exists())
        else {
            return Ok(BTreeSet::new());
        };
        let failed = |source| io_error("read", &path, source);
        let ids = sys::pinned(&path).map_err(failed)?;
        let (size, numbers) = sys::map_info(ids.as_fd()).map_err(failed)?;
        // A program with another layout cannot be read.
        if size as usize != size_of::<IdLine>() {
            return Ok(BTreeSet::new());
        }
        let ids = Table::<IdLine>::map(ids.as_fd(), numbers as usize, "ids")?;
        let lines = (0..numbers as usize).map(|number| ids.read(number).id).filter(|id| *id != 0);
        Ok(lines.filter_map(|id| format!("{id:012x}").parse().ok()).collect())
    }

    fn replace(&mut self, rules: &Ruleset) -> Result<Applied, DataplaneError> {
        let interfaces = self.interfaces()?;
        let Some(active) = self.active.as_mut().filter(|active| active.lost.is_none()) else { return self.load(rules) };
        // The interfaces first: if one of them refuses, nothing has changed. Restores pins of ours
        // that somebody removed.
        prepare(&self.options.directory)?;
        active.links.forget_detached();
        active.links.install(active.program.fd()?, &interfaces, self.options.attach)?;
        pin_missing(&active.program, &self.options.directory)?;
        active.redirects.replace(&rules.rules);
        let ingress = ingress(&active.links, &interfaces, self.options.attach);
        active.redirects.probe(&mut active.program.ebpf, &ingress)?;
        let (allowed, unenforceable) = partition_enforceable(&active.redirects, &rules.rules);
        let gone = active.classifier.others(allowed.iter().copied());
        match active.classifier.apply(allowed, unenforceable, &gone, Some(&rules.protected)) {
            Ok(()) => Ok(active.applied()),
            Err(lost) => {
                tracing::info!(why = %lost.why, "rebuilding the XDP tables");
                active.lost = Some(lost.before);
                self.load(rules)
            }
        }
    }

    fn update(&mut self, plan: &Plan) -> Result<Applied, DataplaneError> {
        let Some(active) = &mut self.active else {
            return Err(DataplaneError::NothingApplied);
        };
        if active.lost.is_none() {
            if active.redirects.change(&plan.upsert, &plan.remove) {
                let interfaces = matched_interfaces(&self.options)?;
                let ingress = ingress(&active.links, &interfaces, self.options.attach);
                // Changes for other rules are found by the next check.
                active.unsettled |= active.redirects.probe(&mut active.program.ebpf, &ingress)?;
            }
            let (allowed, unenforceable) = partition_enforceable(&active.redirects, &plan.upsert);
            match active.classifier.apply(allowed, unenforceable, &plan.remove, plan.protected.as_ref()) {
                Ok(()) => return Ok(active.applied()),
                Err(lost) => {
                    tracing::info!(why = %lost.why, "rebuilding the XDP tables");
                    active.lost = Some(lost.before);
                }
            }
        }
        let mut wanted = active.lost.clone().unwrap_or_default();
        wanted.change(plan);
        self.load(&wanted.ruleset())
    }

    fn health(&mut self) -> Result<Health, DataplaneError> {
        let interfaces = self.interfaces()?;
        let Some(active) = &mut self.active else {
            return Ok(Health::ExternalChange("nothing was applied yet".into()));
        };
        let directory = &self.options.directory;
        // Before it is created again for the new interfaces.
        let removed = pinned_maps().find(|name| !directory.join(name).exists());
        prepare(directory)?;
        active.links.follow(active.program.fd()?, &interfaces, self.options.attach);
        let ingress = ingress(&active.links, &interfaces, self.options.attach);
        let changed = active.redirects.probe(&mut active.program.ebpf, &ingress)?;
        let removed = removed.map(|name| format!("the pin {} was removed", directory.join(name).display()));
        match active.links.external_change(active.id).or(removed) {
            Some(how) => Ok(Health::ExternalChange(how)),
            None if changed | std::mem::take(&mut active.unsettled) => {
                Ok(Health::ConditionChanged("to which addresses packets can be redirected".into()))
            }
            None => Ok(Health::Intact),
        }
    }

    fn counters(&mut self) -> Result<Vec<(Arc<Nlri>, Counter)>, DataplaneError> {
        Ok(self.active.as_ref().map(|active| active.classifier.counters()).unwrap_or_default())
    }

    fn usage(&mut self) -> Result<Usage, DataplaneError> {
        Ok(self.active.as_ref().map(|active| active.classifier.usage()).unwrap_or_default())
    }

    fn unfiltered(&mut self) -> Option<String> {
        Condition::unfiltered(&self.current_condition().interfaces)
    }

    fn condition(&mut self) -> Condition {
        self.current_condition()
    }

    fn samples(&self) -> Result<Box<dyn SampleSource>, NoSamples> {
        Ok(Box::new(self.samples.clone()))
    }

    fn clear(&mut self) -> Result<(), DataplaneError> {
        let directory = &self.options.directory;
        neighbours::release_all();
        match self.active.take() {
            Some(mut active) => active.links.clear()?,
            None if directory.exists() => Links::adopt(directory)?.clear()?,
            None => return Ok(()),
        }
        for name in pinned_maps() {
            let _ = std::fs::remove_file(directory.join(name));
        }
        // It stays if it contains anything else.
        let _ = std::fs::remove_dir(directory);
        Ok(())
    }
}

fn object() -> Result<&'static [u8], DataplaneError> {
    OBJECT.ok_or_else(|| {
        DataplaneError::Unavailable(
            "this floodgate was built without clang, so it has no XDP program; build it where clang is (make setup)"
                .into(),
        )
    })
}

/// The interfaces that the patterns match now.
fn matched_interfaces(options: &Options) -> Result<Vec<(u32, String)>, DataplaneError> {
    let found = sys::interfaces()
        .map_err(|source| DataplaneError::Io { context: "list the network interfaces".into(), source })?;
    Ok(found
        .into_iter()
        .filter(|(_, name)| patterns_match(options.interfaces.iter().map(String::as_str), name))
        .collect())
}

/// Makes sure that the directory can hold pins.
fn prepare(directory: &Path) -> Result<(), DataplaneError> {
    let parent = directory.parent().unwrap_or(directory);
    if !sys::is_bpf_fs(parent) {
        sys::mount_bpf_fs(parent).map_err(|error| {
            let parent = parent.display();
            DataplaneError::Unavailable(format!(
                "there is no BPF file system on {parent}, and none could be mounted there: {error} (mount -t bpf bpf {parent})"
            ))
        })?;
    }
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(io_error("make", directory, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glob;

    #[test]
    fn patterns_mean_names() {
        for (pattern, name, is_meant) in [
            ("swp*", "swp12", true),
            ("swp?", "swp1", true),
            ("swp?", "swp12", false),
            ("*", "eth0", true),
            ("eth0", "eth01", false),
        ] {
            assert_eq!(glob(pattern, name), is_meant, "{pattern} {name}");
        }
    }

    #[test]
    fn without_interfaces_nothing_is_opened() {
        let said = Xdp::open(Options::default()).unwrap_err().to_string();
        assert!(said.contains("interfaces = ") || said.contains("clang"), "{said}");
    }
}
