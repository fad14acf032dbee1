//! Who may do what over TCP: tokens, of which only the hashes are known, and what each of them
//! allows. The same evaluation as that of a peer's rules decides about the rules of a token.

use crate::policies;
use config::{Role, TokenHash};
use engine::Route;
use engine::import_policy::{ImportPolicy, PolicyChain};
use flowspec::{Nlri, PathId};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// The hash of a token.
pub fn hash(token: &str) -> TokenHash {
    TokenHash(Sha256::digest(token.as_bytes()).into())
}

/// The tokens of the configuration, and what those without one may do.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// `[api] token`: everything.
    single: Option<String>,
    configured: Vec<config::Token>,
    named: Vec<Arc<NamedToken>>,
    anonymous_read: bool,
}

/// The same configuration.
impl PartialEq for Access {
    fn eq(&self, other: &Self) -> bool {
        (&self.single, &self.configured, self.anonymous_read)
            == (&other.single, &other.configured, other.anonymous_read)
    }
}

/// A token with a name.
#[derive(Debug)]
pub(crate) struct NamedToken {
    hash: TokenHash,
    role: Role,
    sources: Vec<IpNet>,
    expires: Option<SystemTime>,
    grant: Arc<Grant>,
}

/// What the rules of a token may be.
#[derive(Debug)]
pub(crate) struct Grant {
    name: String,
    chain: PolicyChain,
    max_rules: usize,
    /// Whether rules of others may be withdrawn.
    is_admin: bool,
}

/// Why a rule of a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantError {
    /// Its policy rejects the rule.
    #[error("token {name} may not announce this: {reason}")]
    Rejected {
        /// Its name.
        name: String,
        /// Why, for people.
        reason: String,
    },
    /// It has as many rules as it may have.
    #[error("token {name} has {limit} rules already, and may have no more at the same time")]
    TooMany {
        /// Its name.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// Somebody else announced the same match here.
    #[error("this is announced here by somebody else already, and token {name} may not change that")]
    OfOthers {
        /// Its name.
        name: String,
    },
}

/// Who sent a request over TCP.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// Nobody that is known.
    Anonymous,
    /// The token of `[api]`.
    Single,
    /// A named token.
    Named(Arc<NamedToken>),
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It looks at something that everybody may see.
    Look,
    /// It asks what would happen, which takes some time.
    Ask,
    /// It announces or withdraws a rule.
    Announce,
    /// It changes anything else.
    Administer,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// There is no token in the configuration.
    #[error("read-only: no token is configured for TCP")]
    ReadOnly,
    /// It has no token, or one that is not known.
    #[error("this takes the header `Authorization: Bearer TOKEN`")]
    Unknown,
    /// The token has ended.
    #[error("token {0} has expired")]
    Expired(String),
    /// It comes from elsewhere.
    #[error("token {0} may not be used from this address")]
    Source(String),
    /// It may do less.
    #[error("token {0} may not do this: its role is less than that")]
    Role(String),
}

impl Access {
    /// As configured.
    pub(crate) fn new(config: &config::Config) -> Self {
        let named = config.tokens.iter().map(|token| Arc::new(NamedToken::new(token))).collect();
        Access {
            single: config.api.token.clone(),
            configured: config.tokens.clone(),
            named,
            anonymous_read: config.api.anonymous_read,
        }
    }

    /// Who shows this token from this address, and whether that may be done.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn admit(
        &self,
        shown: Option<&str>,
        from: IpAddr,
        need: Need,
        now: SystemTime,
    ) -> Result<Identity, Denied> {
        let identity = match shown {
            Some(shown) => self.identify(shown).ok_or(Denied::Unknown)?,
            None => Identity::Anonymous,
        };
        match &identity {
            Identity::Single => {}
            Identity::Named(token) => token.admit(from, need, now)?,
            Identity::Anonymous if need == Need::Look && self.anonymous_read => {}
            Identity::Anonymous if self.single.is_none() && self.named.is_empty() => return Err(Denied::ReadOnly),
            Identity::Anonymous => return Err(Denied::Unknown),
        }
        Ok(identity)
    }

    /// All tokens are compared, however many fit: the time says nothing of them.
    fn identify(&self, shown: &str) -> Option<Identity> {
        let hash = hash(shown);
        let mut found = None;
        for token in &self.named {
            if is_equal(&token.hash.0, &hash.0) {
                found = Some(Identity::Named(Arc::clone(token)));
            }
        }
        let is_single = self.single.as_ref().is_some_and(|single| is_equal(&self::hash(single).0, &hash.0));
        if is_single { Some(Identity::Single) } else { found }
    }
}

/// In constant time.
fn is_equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

impl NamedToken {
    fn new(token: &config::Token) -> Self {
        let policy = ImportPolicy {
            destinations: token.destinations.iter().copied().collect(),
            shortest_v4: token.shortest_prefix_v4,
            shortest_v6: token.shortest_prefix_v6,
            without_destination: token.without_destination,
            actions: policies::permissions(&token.actions),
            redirect_to: (!token.redirect_to.is_empty()).then(|| token.redirect_to.iter().copied().collect()),
            max_lifetime: token.max_lifetime.map(|age| age.0.as_secs().max(1)),
            ..ImportPolicy::default()
        };
        let grant = Grant {
            name: token.name.clone(),
            chain: PolicyChain::new(&policy),
            max_rules: usize::try_from(token.max_rules).unwrap_or(usize::MAX),
            is_admin: token.role == Role::Admin,
        };
        NamedToken {
            hash: token.hash,
            role: token.role,
            sources: token.sources.clone(),
            expires: token.expires,
            grant: Arc::new(grant),
        }
    }

    fn admit(&self, from: IpAddr, need: Need, now: SystemTime) -> Result<(), Denied> {
        let name = || self.grant.name.clone();
        if self.expires.is_some_and(|end| end <= now) {
            return Err(Denied::Expired(name()));
        }
        if !self.sources.is_empty() && !self.sources.iter().any(|net| net.contains(&from)) {
            return Err(Denied::Source(name()));
        }
        let needed = match need {
            Need::Look | Need::Ask => Role::Read,
            Need::Announce => Role::Announce,
            Need::Administer => Role::Admin,
        };
        if self.role < needed { Err(Denied::Role(name())) } else { Ok(()) }
    }

    /// What its rules may be.
    pub(crate) fn grant(&self) -> Arc<Grant> {
        Arc::clone(&self.grant)
    }
}

impl Grant {
    /// As the history and the log name it.
    pub(crate) fn requester(&self) -> String {
        format!("token:{}", self.name)
    }

    /// The rules of this name have this path identifier, in the state file, too: so they are known
    /// after a restart.
    pub(crate) fn owner(&self) -> PathId {
        owner(&self.name)
    }

    /// Whether it may change what somebody else announced here.
    pub(crate) const fn is_admin(&self) -> bool {
        self.is_admin
    }

    /// The longest lifetime of this rule in seconds, if there is one; `others` are the rules of
    /// this name that there are besides it.
    ///
    /// # Errors
    /// It may not be announced.
    pub(crate) fn admit(&self, nlri: &Nlri, route: &Route, others: usize) -> Result<Option<u64>, GrantError> {
        let evaluation = self.chain.evaluate(nlri, route);
        if let Some(rejection) = evaluation.rejection {
            // Its words are those of the rules of peers.
            let reason = rejection.to_string().replace("the peer", "it").replace("this peer", "it");
            let reason = reason.replace("allow.", "");
            return Err(GrantError::Rejected { name: self.name.clone(), reason });
        }
        if others >= self.max_rules {
            return Err(GrantError::TooMany { name: self.name.clone(), limit: self.max_rules });
        }
        Ok(evaluation.lifetime)
    }

    /// That somebody else announced the rule.
    pub(crate) fn of_others(&self) -> GrantError {
        GrantError::OfOthers { name: self.name.clone() }
    }
}

/// FNV-1a of the name: what is in the state file stays, so this never changes.
fn owner(name: &str) -> PathId {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    PathId(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const DESK: &str = "a token that is long enough";
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn access(keys: &str, api: &str) -> Access {
        let text = format!(
            "[router]\nas = 65140\nid = \"192.0.2.10\"\n[api]\n{api}\n[[token]]\nname = \"desk\"\nhash = \"{}\"\n{keys}\n",
            hash(DESK)
        );
        Access::new(&config::Config::parse(&text, std::path::Path::new("test")).unwrap())
    }

    fn admitted(access: &Access, shown: Option<&str>, from: &str, need: Need) -> Result<(), String> {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        access.admit(shown, from.parse().unwrap(), need, now).map(drop).map_err(|denied| denied.to_string())
    }

    #[test]
    fn a_role_may_do_what_it_is_for_and_no_more() {
        use Need::{Administer, Announce, Ask, Look};
        for (role, needs) in [
            ("read", &[Look, Ask][..]),
            ("announce", &[Look, Ask, Announce]),
            ("admin", &[Look, Ask, Announce, Administer]),
        ] {
            let access = access(&format!("role = \"{role}\""), "");
            for need in [Look, Ask, Announce, Administer] {
                let may = admitted(&access, Some(DESK), "192.0.2.7", need).is_ok();
                assert_eq!(may, needs.contains(&need), "{role} {need:?}");
                assert!(admitted(&access, Some("another token of no use"), "192.0.2.7", need).is_err());
                assert_eq!(admitted(&access, None, "192.0.2.7", need).is_ok(), need == Look);
            }
        }
    }

    #[test]
    fn a_token_ends_and_works_from_its_networks_alone() {
        let role = "role = \"admin\"\n";
        let ended = access(&format!("{role}expires = \"2027-01-01\""), "");
        let later = access(&format!("{role}expires = \"2027-02-01\""), "");
        assert_eq!(admitted(&ended, Some(DESK), "192.0.2.7", Need::Look).unwrap_err(), "token desk has expired");
        assert_eq!(admitted(&later, Some(DESK), "192.0.2.7", Need::Look), Ok(()));
        let near = access(&format!("{role}sources = [\"192.0.2.0/24\", \"2001:db8::/32\"]"), "");
        for (from, may) in [("192.0.2.7", true), ("192.0.3.7", false), ("2001:db8::1", true), ("::1", false)] {
            assert_eq!(admitted(&near, Some(DESK), from, Need::Administer).is_ok(), may, "{from}");
        }
    }

    #[test]
    fn who_has_no_token_may_look_unless_that_is_off() {
        let open = access("role = \"read\"", "");
        let closed = access("role = \"read\"", "anonymous-read = false");
        assert_eq!(admitted(&open, None, "192.0.2.7", Need::Look), Ok(()));
        assert!(admitted(&closed, None, "192.0.2.7", Need::Look).is_err());
        assert_eq!(admitted(&closed, Some(DESK), "192.0.2.7", Need::Look), Ok(()));
        // A wrong token is wrong also where none is needed.
        assert!(admitted(&open, Some("wrong"), "192.0.2.7", Need::Look).is_err());
        assert!(open != closed && open == access("role = \"read\"", ""));
        let single = access("role = \"read\"", "token = \"0123456789abcdef\"");
        assert_eq!(admitted(&single, Some("0123456789abcdef"), "192.0.2.7", Need::Administer), Ok(()));
    }

    #[test]
    fn rules_are_judged_as_those_of_a_peer() {
        let keys = "role = \"announce\"\ndestinations = [\"192.0.2.0/24\"]\nactions = [\"discard\"]\nmax-rules = 2\nmax-lifetime = \"1h\"";
        let Ok(Identity::Named(token)) = access(keys, "").admit(Some(DESK), HERE, Need::Announce, UNIX_EPOCH) else {
            panic!("not admitted")
        };
        let grant = token.grant();
        let judge = |rule: &str, others| {
            let rule: flowspec::Rule = rule.parse().unwrap();
            grant.admit(&rule.nlri, &Route::local(rule.actions), others).map_err(|error| error.to_string())
        };
        assert_eq!(judge("dst 192.0.2.1/32 then discard", 0), Ok(Some(3600)));
        let elsewhere = judge("dst 198.51.100.1/32 then discard", 0).unwrap_err();
        assert_eq!(elsewhere, "token desk may not announce this: it may not filter this destination");
        assert!(judge("dst 192.0.2.1/32 then rate 1mbps", 0).unwrap_err().contains("action rate"));
        assert!(judge("proto udp then discard", 0).is_err());
        assert!(judge("dst 192.0.2.1/32 then discard", 2).unwrap_err().contains("has 2 rules already"));
        assert_eq!((grant.requester(), grant.is_admin()), ("token:desk".to_owned(), false));
    }

    /// The state file has these numbers.
    #[test]
    fn a_name_keeps_its_number() {
        assert_eq!(
            (owner(""), owner("a"), owner("foobar")),
            (PathId(0x811c_9dc5), PathId(0xe40c_292c), PathId(0xbf9c_f968))
        );
    }
}
