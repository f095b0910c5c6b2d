//! The signals and their thresholds, as kubelet's configuration writes them.

use jiff::SignedDuration;
use kabuki_model::Quantity;
use std::collections::BTreeMap;
use std::fmt;

/// What a node can run short of. Memory comes first: it cannot wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Memory that is not in use.
    MemoryAvailable,
    /// Room on the file system of pods.
    NodeFsAvailable,
    /// Files that it can still take.
    NodeFsInodesFree,
    /// Room on the file system of images.
    ImageFsAvailable,
    /// Numbers of processes.
    PidAvailable,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::MemoryAvailable,
        Self::NodeFsAvailable,
        Self::NodeFsInodesFree,
        Self::ImageFsAvailable,
        Self::PidAvailable,
    ];

    /// Its name in kubelet's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory.available",
            Self::NodeFsAvailable => "nodefs.available",
            Self::NodeFsInodesFree => "nodefs.inodesFree",
            Self::ImageFsAvailable => "imagefs.available",
            Self::PidAvailable => "pid.available",
        }
    }

    /// The resource that is short, as messages name it.
    pub fn resource(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory",
            Self::NodeFsAvailable | Self::ImageFsAvailable => "ephemeral-storage",
            Self::NodeFsInodesFree => "inodes",
            Self::PidAvailable => "pids",
        }
    }

    /// Whether removing images and ended containers helps.
    pub fn is_disk(self) -> bool {
        matches!(
            self,
            Self::NodeFsAvailable | Self::NodeFsInodesFree | Self::ImageFsAvailable
        )
    }
}

/// An amount, or a share of all that there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Bytes or pieces.
    Of(i64),
    /// Percent of the capacity.
    Percent(f64),
}

impl Amount {
    /// What it is of `capacity`.
    pub fn of(self, capacity: i64) -> i64 {
        match self {
            Self::Of(amount) => amount,
            // No capacity has more digits than a float holds exactly.
            Self::Percent(percent) => (capacity as f64 * percent / 100.0) as i64,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(number) = text.strip_suffix('%') {
            let percent: f64 = number.parse().ok()?;
            return (0.0..=100.0)
                .contains(&percent)
                .then_some(Self::Percent(percent));
        }
        let quantity: Quantity = text.parse().ok()?;
        (!quantity.is_negative()).then(|| Self::Of(quantity.value_ceil()))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(amount) => Quantity::from_bytes(*amount).fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// When and how pods are evicted.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Below these, at once (`evictionHard`).
    pub hard: BTreeMap<Signal, Amount>,
    /// Below these for so long (`evictionSoft`, `evictionSoftGracePeriod`).
    pub soft: BTreeMap<Signal, (Amount, SignedDuration)>,
    /// How much more than the threshold is reclaimed (`evictionMinimumReclaim`).
    pub minimum_reclaim: BTreeMap<Signal, Amount>,
    /// The longest that a pod evicted for a soft threshold may take to end
    /// (`evictionMaxPodGracePeriod`).
    pub max_pod_grace_s: i64,
    /// Pressure counts as over only after this time without any
    /// (`evictionPressureTransitionPeriod`).
    pub transition: SignedDuration,
}

impl Default for Settings {
    /// Kubelet's own.
    fn default() -> Self {
        let hard = [
            (Signal::MemoryAvailable, Amount::Of(100 << 20)),
            (Signal::NodeFsAvailable, Amount::Percent(10.0)),
            (Signal::NodeFsInodesFree, Amount::Percent(5.0)),
            (Signal::ImageFsAvailable, Amount::Percent(15.0)),
        ];
        Self {
            hard: hard.into(),
            soft: BTreeMap::new(),
            minimum_reclaim: BTreeMap::new(),
            max_pod_grace_s: 0,
            transition: SignedDuration::from_mins(5),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There is no such signal.
    #[error(
        "{field}: {name:?} is no signal: use one of memory.available, nodefs.available, nodefs.inodesFree, imagefs.available, pid.available"
    )]
    Signal {
        /// The setting.
        field: &'static str,
        /// What it says.
        name: String,
    },
    /// An amount cannot be read.
    #[error("{field}: {text:?} is neither an amount such as 100Mi nor a share such as 10%")]
    Amount {
        /// The setting.
        field: &'static str,
        /// What it says.
        text: String,
    },
    /// A soft threshold has no grace period.
    #[error("evictionSoftGracePeriod has no {0}, which evictionSoft names")]
    Grace(&'static str),
    /// A grace period cannot be read.
    #[error("evictionSoftGracePeriod: {0:?} is no duration such as 1m30s")]
    Duration(String),
}

type Texts = BTreeMap<String, String>;

impl Settings {
    /// Reads the settings as kubelet's configuration has them. A hard threshold that is given
    /// replaces all of the usual ones, as there.
    ///
    /// # Errors
    /// Naming the setting and what cannot be read.
    pub fn parse(
        hard: Option<&Texts>,
        soft: &Texts,
        soft_grace: &Texts,
        minimum_reclaim: &Texts,
    ) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        if let Some(hard) = hard {
            settings.hard = amounts("evictionHard", hard)?;
        }
        settings.minimum_reclaim = amounts("evictionMinimumReclaim", minimum_reclaim)?;
        for (signal, amount) in amounts("evictionSoft", soft)? {
            let grace = soft_grace
                .get(signal.name())
                .ok_or(SettingsError::Grace(signal.name()))?;
            let grace: SignedDuration = grace
                .parse()
                .map_err(|_| SettingsError::Duration(grace.clone()))?;
            settings.soft.insert(signal, (amount, grace));
        }
        Ok(settings)
    }
}

fn amounts(field: &'static str, texts: &Texts) -> Result<BTreeMap<Signal, Amount>, SettingsError> {
    let one = |(name, text): (&String, &String)| {
        let signal = Signal::ALL.into_iter().find(|s| s.name() == name);
        let signal = signal.ok_or_else(|| SettingsError::Signal {
            field,
            name: name.clone(),
        })?;
        let amount = Amount::parse(text).ok_or_else(|| SettingsError::Amount {
            field,
            text: text.clone(),
        })?;
        Ok((signal, amount))
    };
    texts.iter().map(one).collect()
}
