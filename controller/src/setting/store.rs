use engine::query::Args;
use engine::setting::AnySetting;

/// Every setting with its value, as something to select from. Texts are bound, never written out.
pub(super) fn rows(settings: &[AnySetting], args: &mut Args) -> String {
    let mut sorted = settings.to_vec();
    sorted.sort_by_key(|setting| (setting.category, setting.name));
    let mut lines = Vec::with_capacity(sorted.len());
    for (setting, id) in sorted.iter().zip(1..) {
        let texts = [setting.category, setting.name, setting.help, setting.default];
        let marks: Vec<_> = texts.into_iter().map(|text| args.mark(text)).collect();
        lines.push(format!("({id}, {})", marks.join(", ")));
    }
    format!(
        "(SELECT CAST(k.column1 AS BIGINT) AS id, k.column2 AS category, k.column3 AS name, k.column4 AS description, \
         k.column5 AS default_value, coalesce(s.value, k.column5) AS value FROM (VALUES {}) k \
         LEFT JOIN setting s ON s.category = k.column2 AND s.name = k.column3)",
        lines.join(", ")
    )
}
