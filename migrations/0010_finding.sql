-- Finding activities by parts of what they are called.

-- What each activity is searched in: id, device, reference and VAT, a line each, as `words::folded` writes them: lower
-- case, ASCII digits, Arabic letters that are typed for one another as one. Ordered as lists are, so that a search is one
-- walk from the latest back, which ends as soon as a page is full.
CREATE TABLE search_texts (
    registered_at INTEGER NOT NULL,
    activity      INTEGER NOT NULL,
    text          TEXT    NOT NULL,
    PRIMARY KEY (registered_at, activity)
) STRICT, WITHOUT ROWID;

INSERT INTO search_texts
SELECT registered_at, id,
       lower(activity_id) || char(10) ||
       replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
       replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
       replace(replace(replace(replace(replace(replace(
           lower(coalesce(device_id, '') || char(10) || coalesce(reference, '')),
           '٠', '0'), '١', '1'), '٢', '2'), '٣', '3'), '٤', '4'), '٥', '5'), '٦', '6'), '٧', '7'), '٨', '8'), '٩', '9'),
           '۰', '0'), '۱', '1'), '۲', '2'), '۳', '3'), '۴', '4'), '۵', '5'), '۶', '6'), '۷', '7'), '۸', '8'), '۹', '9'),
           'أ', 'ا'), 'إ', 'ا'), 'آ', 'ا'), 'ة', 'ه'), 'ى', 'ي'), 'ـ', '') || char(10) ||
       lower((SELECT vat FROM vats WHERE vats.id = vat_id))
FROM activities;

CREATE TRIGGER search_text_removal AFTER DELETE ON activities
BEGIN
    DELETE FROM search_texts WHERE registered_at = OLD.registered_at AND activity = OLD.id;
END;

-- Failures by who must act.
CREATE INDEX activities_by_owner ON activities (next_step_owner, registered_at) WHERE next_step_owner IS NOT NULL;
