//! Numbers that may be written as a percentage of some total (`IntOrString`), and the bounds of
//! a rolling update that are made of two of them.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Why a text is no percentage, in Kubernetes' words.
pub const NOT_A_PERCENTAGE: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// The number of a percentage: `25` of `25%`.
pub fn percentage(text: &str) -> Option<i32> {
    let digits = text.strip_suffix('%')?;
    let numeric = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    // Percentages beyond 32 bits are as good as the largest.
    numeric.then(|| digits.parse().unwrap_or(i32::MAX))
}

/// Which way a percentage of a total that is no whole number goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Towards the next greater number.
    Up,
    /// Towards zero.
    Down,
}

/// The number itself, or the percentage of `total`. Zero for a text that is no percentage,
/// which validation refuses.
pub fn scaled(value: &IntOrString, total: i32, rounding: Rounding) -> i32 {
    let percent = match value {
        IntOrString::Int(number) => return *number,
        IntOrString::String(text) => i64::from(percentage(text).unwrap_or(0)),
    };
    let hundredfold = percent * i64::from(total);
    let number = match rounding {
        Rounding::Up => (hundredfold + 99).div_euclid(100),
        Rounding::Down => hundredfold.div_euclid(100),
    };
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// How far a rolling update may go beyond and below the wanted number of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollingBounds {
    /// Pods above the wanted number.
    pub surge: i32,
    /// Pods that may be missing.
    pub unavailable: i32,
}

/// The bounds of a Deployment's rolling update; both zero for `Recreate`. Surge is rounded up
/// and unavailability down; when both come to zero, one pod may be missing, so that the update
/// can move at all.
pub fn rolling_bounds(deployment: &Deployment) -> RollingBounds {
    let strategy = deployment.spec.strategy.as_ref();
    let replicas = deployment.spec.replicas.unwrap_or(1);
    if strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate") {
        return RollingBounds {
            surge: 0,
            unavailable: 0,
        };
    }
    let quarter = IntOrString::String("25%".to_string());
    let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
    let surge = rolling
        .and_then(|r| r.max_surge.as_ref())
        .unwrap_or(&quarter);
    let missing = rolling
        .and_then(|r| r.max_unavailable.as_ref())
        .unwrap_or(&quarter);
    let surge = scaled(surge, replicas, Rounding::Up);
    let unavailable = match scaled(missing, replicas, Rounding::Down) {
        0 if surge == 0 => 1,
        number => number.min(replicas),
    };
    RollingBounds { surge, unavailable }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> IntOrString {
        IntOrString::String(text.to_string())
    }

    #[test]
    fn percentages_round_as_asked() {
        assert_eq!(scaled(&percent("25%"), 10, Rounding::Up), 3);
        assert_eq!(scaled(&percent("25%"), 10, Rounding::Down), 2);
        assert_eq!(scaled(&percent("100%"), 7, Rounding::Up), 7);
        assert_eq!(scaled(&IntOrString::Int(4), 10, Rounding::Up), 4);
        assert_eq!(
            scaled(&percent("99999999999%"), i32::MAX, Rounding::Up),
            i32::MAX
        );
        assert_eq!(percentage("1.5%"), None);
        assert_eq!(percentage("%"), None);
    }

    #[test]
    fn a_rolling_update_can_always_move() {
        let mut deployment = Deployment::default();
        deployment.spec.replicas = Some(1);
        let bounds = rolling_bounds(&deployment);
        assert_eq!(
            bounds,
            RollingBounds {
                surge: 1,
                unavailable: 0
            }
        );
        let strategy = deployment.spec.strategy.get_or_insert_default();
        let rolling = strategy.rolling_update.get_or_insert_default();
        rolling.max_surge = Some(IntOrString::Int(0));
        let bounds = rolling_bounds(&deployment);
        assert_eq!(
            bounds,
            RollingBounds {
                surge: 0,
                unavailable: 1
            }
        );
    }
}
