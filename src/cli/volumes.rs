//! `volumes`, checked.

use super::arguments::{VolumesArguments, VolumesRemoveArguments, VolumesWhat};
use super::check::Check;
use crate::domain::Time;
use crate::tools::values;
use crate::tools::volumes::{RemoveOptions, Until, VolumesOptions, What};

impl Check<'_> {
    pub(super) fn volumes(&mut self, arguments: &VolumesArguments) -> Option<VolumesOptions> {
        self.matches = self.matches.subcommand().map_or(self.matches, |(_, matches)| matches);
        let data = self.directory(&arguments.data);
        let what = match &arguments.what {
            VolumesWhat::List(list) => {
                What::List(self.value("--format", &list.format, values::text_or_json).unwrap_or_default())
            }
            VolumesWhat::Remove(remove) => What::Remove(self.removal(remove)?),
        };
        Some(VolumesOptions { data: data?, what })
    }

    fn removal(&mut self, arguments: &VolumesRemoveArguments) -> Option<RemoveOptions> {
        let through = self.value("--through", &arguments.through, number);
        let before = self.value("--before", &arguments.before, time);
        let until = match (through, before) {
            (Some(number), None) => Some(Until::Volume(number)),
            (None, Some(time)) => Some(Until::Time(time)),
            (Some(_), Some(_)) => {
                self.fault("--through and --before exclude each other: give one of them");
                None
            }
            (None, None) if arguments.through.is_some() || arguments.before.is_some() => None,
            (None, None) => {
                self.fault("--through N or --before TIME: expected up to where volumes are removed, got neither");
                None
            }
        };
        let export = arguments.export.clone();
        match (&export, arguments.without_export) {
            (Some(_), true) => self.fault("--export and --without-export exclude each other: give one of them"),
            (None, false) => {
                self.fault("--export FILE: expected where what is removed is kept, got none; or say --without-export");
            }
            _ => {}
        }
        Some(RemoveOptions { until: until?, export })
    }
}

fn number(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("expected the number of a volume, such as 3, got {text:?}"))
}

fn time(text: &str) -> Result<Time, String> {
    Time::parse(text).map_err(|_| format!("expected a time such as 2026-01-31T12:00:00Z, got {text:?}"))
}
