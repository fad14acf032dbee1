//! The switch: whether it can be used, its ports, and our tables on it.

use super::databases::{Databases, Db};
use super::entry::Fields;
use super::producer::Producer;
use super::render::Object;
use super::settings::Settings;
use super::tables::{PREFIX, table, table_name, table_type};
use crate::DataplaneError;
use crate::interface_names::patterns_match;
use flowspec::IpVersion;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The interval at which orchagent's progress is polled, at first and at most.
const LOOKS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];

/// Waits for another program, as long as it makes progress.
pub(super) struct Progress {
    timeout: Duration,
    last: Instant,
    look: Duration,
}

impl Progress {
    pub(super) fn new(timeout: Duration) -> Self {
        Progress { timeout, last: Instant::now(), look: LOOKS[0] }
    }

    /// There was progress.
    pub(super) fn made(&mut self) {
        self.last = Instant::now();
        self.look = LOOKS[0];
    }

    /// Waits until the next poll; false if there has been no progress for too long.
    pub(super) fn wait(&mut self) -> bool {
        if self.last.elapsed() >= self.timeout {
            return false;
        }
        std::thread::sleep(self.look);
        self.look = (self.look * 2).min(LOOKS[1]);
        true
    }
}

/// Whether the switch can be used.
pub(super) fn check(databases: &mut Databases) -> Result<(), DataplaneError> {
    let refused = |words: &str| Err(DataplaneError::Refused(words.to_owned()));
    let initialized: Option<String> =
        databases.with(Db::Config, |connection| redis::cmd("GET").arg("CONFIG_DB_INITIALIZED").query(connection))?;
    if initialized.as_deref() != Some("1") {
        return refused("SONiC is starting: CONFIG_DB is not initialised");
    }
    let mode = databases.field(Db::Config, "DEVICE_METADATA|localhost", "synchronous_mode")?;
    if mode.is_some_and(|mode| mode == "disable") {
        return refused(
            "synchronous_mode is disable in DEVICE_METADATA: a rule that the ASIC refuses would end syncd instead of being reported",
        );
    }
    for (key, field, wanted) in [
        ("ACL_STAGE_CAPABILITY_TABLE|INGRESS", "action_list", &["PACKET_ACTION"][..]),
        ("SWITCH_CAPABILITY|switch", "ACL_ACTION|PACKET_ACTION", &["DROP", "FORWARD"][..]),
    ] {
        let Some(list) = databases.field(Db::State, key, field)? else { continue };
        if let Some(missing) = wanted.iter().find(|wanted| !list.split(',').any(|item| item.trim() == **wanted)) {
            return refused(&format!("the switch's {field} in {key} has no {missing}: {list}"));
        }
    }
    Ok(())
}

/// The ports and port channels that these patterns match now. A member of a port channel means the
/// port channel: a table on the member itself would not become active.
pub(super) fn ports(databases: &mut Databases, settings: &Settings) -> Result<Vec<String>, DataplaneError> {
    let mut names = |table: &str| -> Result<Vec<String>, DataplaneError> {
        let keys = databases.keys(Db::Config, &format!("{table}|*"))?;
        Ok(keys.iter().filter_map(|key| key.strip_prefix(table)?.strip_prefix('|')).map(str::to_owned).collect())
    };
    let (ports, channels, members) = (names("PORT")?, names("PORTCHANNEL")?, names("PORTCHANNEL_MEMBER")?);
    let channel_of: BTreeMap<&str, &str> =
        members.iter().filter_map(|member| member.split_once('|')).map(|(channel, port)| (port, channel)).collect();
    let is_meant = |name: &str| patterns_match(settings.interfaces.iter().map(String::as_str), name);
    let mut meant: BTreeSet<String> = channels.into_iter().filter(|name| is_meant(name)).collect();
    for port in ports.iter().filter(|name| is_meant(name)) {
        meant.insert(channel_of.get(port.as_str()).map_or(port.as_str(), |channel| channel).to_owned());
    }
    if meant.is_empty() {
        return Err(DataplaneError::Refused(format!(
            "none of the switch's ports matches interfaces = [{}]",
            settings.interfaces.join(", ")
        )));
    }
    Ok(meant.into_iter().collect())
}

/// Our existing tables, in either of the databases, by their names.
pub(super) fn tables_there(databases: &mut Databases, producer: Producer) -> Result<BTreeSet<String>, DataplaneError> {
    let mut there = BTreeSet::new();
    for object in [Object::Type, Object::Table] {
        let prefix = producer.key(object, &[PREFIX]);
        let names = databases.keys(producer.db(), &format!("{prefix}*"))?;
        there.extend(names.iter().filter_map(|key| Some(format!("{PREFIX}{}", key.strip_prefix(&prefix)?))));
    }
    Ok(there)
}

/// The status of a table.
pub(super) fn table_status(databases: &mut Databases, name: &str) -> Result<Option<String>, DataplaneError> {
    databases.field(Db::State, &format!("ACL_TABLE_TABLE|{name}"), "status")
}

/// Creates the table of an IP version on these ports, or updates it, and waits until it is active.
pub(super) fn ensure_table(
    databases: &mut Databases,
    producer: Producer,
    version: IpVersion,
    ports: &[String],
    settings: &Settings,
) -> Result<(), DataplaneError> {
    let name = table_name(version, settings);
    let names = || vec![name.as_str()];
    let wanted: [(Object, Fields); 2] =
        [(Object::Type, table_type(version, settings)), (Object::Table, table(version, ports, settings))];
    for (object, fields) in &wanted {
        let there = databases.hash(producer.db(), &producer.key(*object, &[&name]))?;
        if there != producer.hash(fields) {
            producer.set(databases, *object, &[(names(), fields)])?;
        }
    }
    let mut progress = Progress::new(settings.timeout);
    loop {
        // If only its ports change, the status stays as it is.
        let is_taken =
            databases.hash(producer.db(), &producer.key(Object::Table, &[&name]))? == producer.hash(&wanted[1].1);
        let status = table_status(databases, &name)?;
        let words = match status.as_deref() {
            Some("Active") if is_taken => return Ok(()),
            Some("Inactive") => "the switch refuses the table (Inactive)".to_owned(),
            _ if progress.wait() => continue,
            Some(status) => format!("the table is {status} after {:?}", settings.timeout),
            None if producer.not_taken(databases, Object::Table, &[names()])? > 0 => {
                format!("orchagent has not taken the table within {:?}", settings.timeout)
            }
            None => format!("the table has no status after {:?}", settings.timeout),
        };
        remove_table(databases, producer, &name)?;
        // Otherwise its status would be taken for that of the next attempt. If it stays, the next
        // attempt reports it, too.
        if let Err(error) = await_removal(databases, &name, settings.timeout) {
            tracing::debug!(%error, "a table that was refused");
        }
        return Err(DataplaneError::Unavailable(format!(
            "{name}: {words}; the ASIC may have no room for a further table (see the syslog of swss)"
        )));
    }
}

/// Deletes a table of ours and its type.
pub(super) fn remove_table(databases: &mut Databases, producer: Producer, name: &str) -> Result<(), DataplaneError> {
    producer.delete(databases, Object::Table, &[vec![name]])?;
    producer.delete(databases, Object::Type, &[vec![name]])
}

/// Waits until a table is gone.
pub(super) fn await_removal(databases: &mut Databases, name: &str, timeout: Duration) -> Result<(), DataplaneError> {
    let mut progress = Progress::new(timeout);
    while table_status(databases, name)?.is_some() {
        if !progress.wait() {
            return Err(DataplaneError::Refused(format!(
                "the switch has not removed the table {name} within {timeout:?}"
            )));
        }
    }
    Ok(())
}
