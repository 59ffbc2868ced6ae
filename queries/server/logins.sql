--! login
-- What the login of this connection is, and what it could become: row security
-- binds neither superusers nor BYPASSRLS, and an owner may switch it off.
SELECT session_user::text AS login, current_user::text AS acts_as,
    own.rolsuper AS is_superuser, own.rolbypassrls AS bypasses_row_security,
    pg_has_role(session_user, 'strongroom_owner', 'MEMBER') AS may_become_owner,
    pg_has_role(session_user, 'strongroom_sealer', 'MEMBER') AS may_become_sealer,
    pg_has_role(session_user, 'strongroom_app', 'MEMBER') AS may_become_app,
    EXISTS (SELECT 1 FROM pg_class relation JOIN pg_namespace space ON space.oid = relation.relnamespace
            WHERE space.nspname = 'public' AND relation.relkind IN ('r', 'p')
              AND pg_get_userbyid(relation.relowner) = session_user) AS owns_tables
FROM pg_roles own WHERE own.rolname = session_user;
