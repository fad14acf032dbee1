//! Who filters: the kernel itself, or a driver of a switch. Only those whose sources were read,
//! since a driver may leave a condition out without a word.

use std::fmt;
use std::str::FromStr;

/// Who carries out the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Driver {
    /// The kernel's own classifier, on any interface; nothing is offloaded.
    Software,
    /// Spectrum 1 to 4.
    Mlxsw,
    /// Marvell Prestera.
    Prestera,
    /// Microchip Ocelot and Felix.
    Ocelot,
}

impl Driver {
    /// All of them.
    pub const ALL: [Driver; 4] = [Driver::Software, Driver::Mlxsw, Driver::Prestera, Driver::Ocelot];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Driver::Software => "software",
            Driver::Mlxsw => "mlxsw",
            Driver::Prestera => "prestera",
            Driver::Ocelot => "ocelot",
        }
    }

    /// Whether a switch filters, and not the processor.
    pub const fn is_hardware(self) -> bool {
        !matches!(self, Driver::Software)
    }

    /// How the names begin that the kernel gives the drivers of its ports (`ethtool -i`). None for
    /// software, which takes any.
    pub const fn port_drivers(self) -> &'static [&'static str] {
        match self {
            Driver::Software => &[],
            Driver::Mlxsw => &["mlxsw_spectrum"],
            Driver::Prestera => &["prestera"],
            Driver::Ocelot => &["mscc_ocelot", "ocelot", "mscc_felix"],
        }
    }

    /// Why it cannot filter for Floodgate although its filters can be compiled.
    pub const fn unfit(self) -> Option<&'static str> {
        match self {
            Driver::Software | Driver::Mlxsw | Driver::Prestera => None,
            Driver::Ocelot => Some(
                "the driver ocelot takes filters in fixed chains only, so that one set of filters cannot take the place of another without \
                 a gap: Floodgate compiles for it and does not install",
            ),
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A driver that Floodgate does not filter with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedDriver {
    /// It is known, and why it will not do.
    #[error("the driver {name} cannot be used: {why}; expected software, mlxsw or prestera")]
    Unfit {
        /// Its name.
        name: String,
        /// A clause.
        why: &'static str,
    },
    /// Its source was not read: it may ignore conditions without a word.
    #[error(
        "it is not known what the driver `{0}` ignores silently; expected software, mlxsw, prestera or ocelot (software filters on any interface)"
    )]
    Unknown(String),
}

impl FromStr for Driver {
    type Err = UnsupportedDriver;

    fn from_str(name: &str) -> Result<Self, UnsupportedDriver> {
        if let Some(driver) = Driver::ALL.into_iter().find(|driver| driver.name() == name) {
            return Ok(driver);
        }
        let why = match name {
            "sparx5" | "sparx5-switch" | "lan966x" | "lan966x-switch" => "it has no action that drops a packet",
            "am65" | "am65-cpsw" | "am65-cpsw-nuss" => {
                "it polices broadcast and multicast addresses, and does nothing else"
            }
            "mlx5" | "mlx5_core" => "it is of a network card, which was not looked at",
            _ => return Err(UnsupportedDriver::Unknown(name.to_owned())),
        };
        Err(UnsupportedDriver::Unfit { name: name.to_owned(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_drivers_and_a_reason_for_the_others() {
        for driver in Driver::ALL {
            assert_eq!(driver.name().parse(), Ok(driver));
        }
        for name in ["sparx5", "lan966x", "am65", "mlx5"] {
            assert!(matches!(name.parse::<Driver>(), Err(UnsupportedDriver::Unfit { .. })), "{name}");
        }
        for name in ["", "Software", "rocker", "netdevsim", "mlxsw_spectrum"] {
            assert_eq!(name.parse::<Driver>(), Err(UnsupportedDriver::Unknown(name.to_owned())));
        }
    }
}
